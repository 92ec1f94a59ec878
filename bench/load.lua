-- One kind of request per run, told by the environment; each request names an order of its own.
local operation = os.getenv("BENCH_OPERATION")
local prefix = os.getenv("BENCH_PREFIX")
local pause = tonumber(os.getenv("BENCH_PAUSE_MILLISECONDS") or "0")
local orders = tonumber(os.getenv("BENCH_ORDERS") or "0")
local number = tonumber(os.getenv("BENCH_FIRST") or "0") - 1

local headers = {
  ["Authorization"] = "Bearer " .. os.getenv("BENCH_TOKEN"),
  ["accountId"] = os.getenv("BENCH_ACCOUNT"),
  ["Content-Type"] = "application/json",
}

local function cancel()
  return wrk.format("POST", "/v1/checkout/order/cancel", headers,
    '{"orderReference":"' .. prefix .. number .. '"}')
end

local function create()
  return wrk.format("POST", "/v1/checkout/order", headers,
    '{"order":{"orderReference":"' .. prefix .. number ..
    '","amount":"10000.00","currency":"NGN","customerEmail":"payer@example.com",' ..
    '"callbackUrl":"https://shop.example/back"}}')
end

local function get()
  return wrk.format("GET", "/v1/checkout/order/" .. prefix .. (number % orders), headers)
end

local make = ({ cancel = cancel, create = create, get = get })[operation]

function request()
  number = number + 1
  return make()
end

if pause > 0 then
  -- Spread around the wanted pause, so that 64 connections do not march in step.
  function delay()
    return pause * (0.5 + math.random())
  end
end

function done(summary, latency)
  io.write(string.format('{"requests":%d,"seconds":%.6f,"refused":%d,"broken":%d,"p50_ms":%.3f,"p99_ms":%.3f}\n',
    summary.requests, summary.duration / 1e6, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end

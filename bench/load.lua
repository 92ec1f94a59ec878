-- One kind of request per run, told by the environment; each request names an order of its own.
local operation = os.getenv("BENCH_OPERATION")
local prefix = os.getenv("BENCH_PREFIX")
local rate = tonumber(os.getenv("BENCH_RATE") or "0")
local orders = tonumber(os.getenv("BENCH_ORDERS") or "0")
local number = tonumber(os.getenv("BENCH_FIRST") or "0") - 1
local keyed = os.getenv("BENCH_KEYED") == "1"

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
  if keyed then
    headers["Idempotency-Key"] = prefix .. number
  end
  return make()
end

if rate > 0 then
  -- Requests fall due at random moments of a fixed rate, whatever the time that answers take; a connection
  -- that comes back takes the next one.
  local ffi = require("ffi")
  ffi.cdef("typedef struct { long seconds, nanoseconds; } moment; int clock_gettime(int clock, moment *now);")
  local clock, due = ffi.new("moment"), nil

  function delay()
    ffi.C.clock_gettime(1, clock)
    local now = tonumber(clock.seconds) * 1e3 + tonumber(clock.nanoseconds) / 1e6
    due = (due or now) - math.log(1 - math.random()) * 1e3 / rate
    return math.max(0, due - now)
  end
end

function done(summary, latency)
  io.write(string.format('{"requests":%d,"seconds":%.6f,"refused":%d,"broken":%d,"p50_ms":%.3f,"p99_ms":%.3f}\n',
    summary.requests, summary.duration / 1e6, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end

-- Card payments: the card of a fresh order, then the password for the transaction that this gave.
-- The request id that comes back tells which order an answer belongs to.
local prefix = os.getenv("BENCH_PREFIX")
local number = tonumber(os.getenv("BENCH_FIRST") or "0") - 1
local waiting = {}

local card = '{\\"cardNumber\\":\\"5434621074252808\\",\\"cardCVV\\":\\"123\\",\\"cardExpiryMonth\\":\\"10\\",' ..
  '\\"cardExpiryYear\\":\\"30\\",\\"cardPin\\":\\"1234\\"}'

local function headers(order)
  return {
    ["Authorization"] = "Bearer " .. os.getenv("BENCH_TOKEN"),
    ["accountId"] = os.getenv("BENCH_ACCOUNT"),
    ["Content-Type"] = "application/json",
    ["X-Request-Id"] = tostring(order),
  }
end

function request()
  local next = table.remove(waiting)
  if next then
    return wrk.format("POST", "/v1/checkout/checkout-card-otp", headers("paid"),
      '{"otp":"9999","orderReference":"' .. prefix .. next.order ..
      '","transactionId":"' .. next.transaction .. '"}')
  end
  number = number + 1
  return wrk.format("POST", "/v1/checkout/checkout-card-detail", headers(number),
    '{"orderReference":"' .. prefix .. number .. '","key":"","cardDetails":"' .. card .. '"}')
end

function response(status, sent, body)
  local transaction = body:match('"responseCode":"T0","transactionId":"([^"]+)"')
  if transaction then
    waiting[#waiting + 1] = { order = sent["x-request-id"], transaction = transaction }
  end
end

function done(summary, latency)
  io.write(string.format('{"requests":%d,"seconds":%.6f,"refused":%d,"broken":%d,"p50_ms":%.3f,"p99_ms":%.3f}\n',
    summary.requests, summary.duration / 1e6, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end

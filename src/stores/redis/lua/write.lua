-- Stores entries whatever was there. Leases of these keys end.
-- KEYS  the keys
-- ARGV  for each key: the entry; milliseconds to keep it, or "inf"
-- Reply OK, or the error of the first that could not be stored

-- @include record

local failure
for i, key in ipairs(KEYS) do
  failure = failure or put(key, stamped(ARGV[2 * i - 1], now), tonumber(ARGV[2 * i]) or math.huge)
end
return failure or redis.status_reply('OK')

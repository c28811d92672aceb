-- Starts the lifetime of a fresh entry anew. A lease stays.
-- KEYS  1 the key
-- ARGV  1 the new ttl in milliseconds (40 bits, all ones: without end)
-- Reply 1, or 0: no entry, or a stale one

-- @include record

local key, ttl = KEYS[1], tonumber(ARGV[1])
local r = head(key)
if not is_fresh(r) then return 0 end
local entry = stamped(entry_of(redis.call('GET', key), r), now, ttl)
local left = span(ttl) + r.grace
if is_held(r) then
  entry = leased(r.token, r.ends, r.awaited, entry, r.json)
  left = math.max(left, r.ends - now)
end
return put(key, entry, left) or 1

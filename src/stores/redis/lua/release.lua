-- Gives a lease back.
-- KEYS  1 the key
-- ARGV  1 the token
-- Reply 1: somebody was told "busy" and waits; else 0

-- @include record

local key = KEYS[1]
local r = head(key)
if not is_held(r) or r.token ~= ARGV[1] then return 0 end
local left = life(r)
if left <= 0 or put(key, entry_of(redis.call('GET', key), r), left) then redis.call('UNLINK', key) end
return r.awaited

-- Stores an entry if the token still holds the lease of its key, which ends.
-- KEYS  1 the key
-- ARGV  1 the token; 2 the entry; 3 milliseconds to keep it, or "inf"
-- Reply 0 refused, 1 stored, 2 stored, and somebody was told "busy" meanwhile

-- @include record

local r = head(KEYS[1])
if not is_held(r) or r.token ~= ARGV[1] then return 0 end
local failure = put(KEYS[1], stamped(ARGV[2], now), tonumber(ARGV[3]) or math.huge)
if failure then return failure end
return 1 + r.awaited

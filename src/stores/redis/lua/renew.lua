-- Prolongs a lease.
-- KEYS  1 the key
-- ARGV  1 the token; 2 milliseconds from now
-- Reply 1, or 0: the token does not hold it

-- @include record

local key, ms = KEYS[1], tonumber(ARGV[2])
local r = head(key)
if not is_held(r) or r.token ~= ARGV[1] then return 0 end
if r.json then
  redis.call('SETRANGE', key, r.awaited_at - #',"awaited":' - 13, whole(now + ms))
else
  redis.call('SETRANGE', key, 2, struct.pack('>I6', now + ms))
end
local left = math.max(life(r), ms)
if left < math.huge then redis.call('PEXPIRE', key, whole(left)) end
return 1

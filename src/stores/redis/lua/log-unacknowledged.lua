-- How many milliseconds some follower may still serve what a record at a position made unusable.
-- ARGV[4] the position
-- Reply: milliseconds, 0: nobody
-- @include log-state
local position = tonumber(ARGV[4])
local longest = math.max(lease, tonumber(redis.call('HGET', HEAD, 'l') or nil) or 0)
-- Followers that the list may lack trusted themselves for no longer than this.
local left = math.max(0, complete_since(run_id()) + longest - now)
local all = redis.call('HGETALL', FOLLOWERS)
for at = 1, #all, 2 do
  if all[at] ~= '@' then
    local acked, til, own = parse(all[at + 1])
    if til <= now then
      redis.call('HDEL', FOLLOWERS, all[at])
    elseif acked < position then
      if til > now + own then
        -- The clock was set back.
        til = now + own
        redis.call('HSET', FOLLOWERS, all[at], int(acked) .. '|' .. int(til) .. '|' .. int(own))
      end
      left = math.max(left, til - now)
    end
  end
end
return int(left)

-- Forgets a pattern, if the one at this position is still what the caller swept.
-- KEYS[1] @patterns, ARGV[1] position, ARGV[2] record as JSON
-- Reply: how many were forgotten
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then return redis.call('HDEL', KEYS[1], ARGV[1]) end
return 0

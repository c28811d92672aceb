-- Patterns not yet swept; when they were evicted, one that concerns everything stored before now.
-- Reply: field, value, ... of the table
-- @include log-state
patterns_known(current())
return redis.call('HGETALL', PATTERNS)

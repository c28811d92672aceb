-- Removes entries.
-- KEYS  the keys
-- ARGV  1 a position: only entries that are older go, and leases stay; empty: entries and leases go
-- Reply how many live entries were removed

-- @include record

local before = tonumber(ARGV[1])
local removed = 0
for _, key in ipairs(KEYS) do
  local r = head(key)
  local lives = life(r) > 0
  if not before then
    redis.call('UNLINK', key)
    if lives then removed = removed + 1 end
  elseif lives and r.as_of < before then
    removed = removed + 1
    strip(key, r)
  end
end
return removed

-- Removes entries of other generations; leases stay.
-- KEYS  the keys
-- ARGV  1 the generation that stays; 2 the same as it stands in the JSON layout; 3 the same packed, or empty
-- Reply how many entries were removed

-- @include record

local removed = 0
for _, key in ipairs(KEYS) do
  local r = head(key)
  if r and r.stored_at and r.generation ~= ARGV[r.json and 2 or r.packed and 3 or 1] then
    removed = removed + 1
    strip(key, r)
  end
end
return removed

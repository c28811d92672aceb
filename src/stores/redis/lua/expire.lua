-- Makes fresh entries stale; leases of the keys end. What is no record goes.
-- KEYS  the keys
-- Reply how many live entries there were

-- @include record

local expired = 0
for _, key in ipairs(KEYS) do
  local r = head(key)
  local lives = life(r) > 0
  if lives then expired = expired + 1 end
  if lives and (r.token or is_fresh(r)) then
    local entry, left = entry_of(redis.call('GET', key), r), life(r)
    if is_fresh(r) then
      entry, left = stamped(entry, r.stored_at, math.max(0, now - r.stored_at)), r.grace
    end
    -- Without memory for it, it goes: that is more than was asked, and safe.
    if put(key, entry, left) then redis.call('UNLINK', key) end
  elseif not lives then
    redis.call('UNLINK', key)
  end
end
return expired

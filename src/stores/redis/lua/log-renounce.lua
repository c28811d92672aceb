-- Ends a generation whose history was lost in part: a new history is founded, with a record that wakes followers.
-- ARGV[4] the generation; nothing happens when it is not the current one
-- ARGV[5] the record, as JSON
-- Reply: generation, position
-- @include log-state
local head = current()
if head.g == ARGV[4] then
  head = found(math.max(head.p, tonumber(ARGV[2])))
  head.p = head.p + 1
  redis.call('XADD', LOG, int(head.p) .. '-0', 'r', ARGV[5], 'i', head.i, 'a', head.i)
  save(head)
end
return { head.g, int(head.p) }

-- Appends records, with the tables that go with them.
-- ARGV[4] records kept in the stream, ARGV[5] tags and ARGV[6] patterns remembered; then for each record: id, JSON,
--   what it is ('-' nothing more, 'h' or 's' hard or soft tags, 'p' a pattern, 'c' a new generation), how many
--   arguments follow (the tags; the generation), and these
-- Reply: generation, position of the last record
-- @include log-state
local kept, most_tags, most_patterns = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local head = current()

local function add(id, json)
  return redis.pcall('XADD', LOG, 'MAXLEN', '~', kept, int(head.p + 1) .. '-0', 'r', json, 'i', id,
    'a', head.i)
end

-- All that is remembered of tags, forgotten: everything up to here counts as invalidated.
local function forget_tags()
  redis.call('UNLINK', HEAD)
  head.f = head.p
end

local function mark_tags(prefix, from, count)
  local fields = {}
  for at = from, from + count - 1 do
    fields[#fields + 1] = prefix .. ARGV[at]
    fields[#fields + 1] = int(head.p)
    -- Lua passes a limited number of arguments.
    if #fields >= 2000 or at == from + count - 1 then
      redis.call('HSET', HEAD, unpack(fields))
      fields = {}
    end
  end
end

local function add_pattern(json)
  if not patterns_known(head) then return end -- everything: it covers this one too
  if redis.call('HLEN', PATTERNS) > most_patterns then
    redis.call('UNLINK', PATTERNS)
    redis.call('HSET', PATTERNS, '@', head.bg, int(head.p), EVERYTHING)
  else
    redis.call('HSET', PATTERNS, int(head.p), json)
  end
end

local at, first = 7, true
while ARGV[at] do
  local id, json, what, count = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  local added = add(id, json)
  if first and type(added) == 'table' and string.find(added.err, 'equal or smaller', 1, true) then
    -- The stream reaches further than the head knows: they are not of one history.
    head = found(math.max(head.p, tonumber(ARGV[2])))
    added = add(id, json)
  end
  if type(added) == 'table' then return added end
  first = false
  head.p, head.i = head.p + 1, id
  if what == 'h' or what == 's' then mark_tags(what .. ':', at + 4, count)
  elseif what == 'p' then add_pattern(json)
  elseif what == 'c' then
    head.g = ARGV[at + 4]
    forget_tags()
    redis.call('UNLINK', PATTERNS)
    redis.call('HSET', PATTERNS, '@', head.bg)
  end
  at = at + 4 + count
end
if redis.call('HLEN', HEAD) > most_tags + 7 then forget_tags() end
save(head)
return { head.g, int(head.p) }

-- What the scripts of the log share.
--
-- KEYS[1] @log        stream: id "<position>-0", fields r (the record as JSON), i (its id), a (id of the one before it,
--                     so that records of two histories never pass for one)
-- KEYS[2] @head       hash: g generation, p position, i id of the record there; b, bg where and as what this
--                     history was founded; f tags invalidated before it are not remembered; l longest lease;
--                     h:<tag>, s:<tag> last hard and soft invalidation. One key, so that eviction takes all or nothing.
-- KEYS[3] @followers  hash: node -> "<acknowledged>|<until>|<lease>"; "@" -> "<run id>|<since>": the table is complete
--                     for followers registered since then with that server process
-- KEYS[4] @patterns   hash: position -> record as JSON; "@" -> the founding's name, missing when it was evicted
-- ARGV[1] name of a new generation, should one be founded
-- ARGV[2] a position that a new history must lie above
-- ARGV[3] lease of the caller in milliseconds
local LOG, HEAD, FOLLOWERS, PATTERNS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local EVERYTHING = '{"kind":"prefix","prefix":""}'

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local lease = tonumber(ARGV[3])

local function int(number)
  return string.format('%.0f', number)
end

local function parse(follower)
  local acked, til, own = string.match(follower, '^(%d+)|(%d+)|(%d+)$')
  return tonumber(acked or 0), tonumber(til or 0), tonumber(own or 0)
end

local function save(head)
  redis.call('HSET', HEAD, 'g', head.g, 'p', int(head.p), 'i', head.i, 'b', int(head.b), 'bg', head.bg,
    'f', int(head.f), 'l', int(head.l))
end

-- A new history above everything that an earlier one may have reached. Followers stay on the list: they may
-- serve what the earlier one told them until they hear of this one.
local function found(above)
  local base, longest = math.max(now, above + 1), lease
  local last = redis.pcall('XREVRANGE', LOG, '+', '-', 'COUNT', 1)
  if last[1] then base = math.max(base, tonumber(string.match(last[1][1], '^%d+')) + 1) end
  local all = redis.call('HGETALL', FOLLOWERS)
  for at = 1, #all, 2 do
    if all[at] ~= '@' then
      local acked, _, own = parse(all[at + 1])
      base, longest = math.max(base, acked + 1), math.max(longest, own)
    end
  end
  redis.call('UNLINK', LOG, HEAD, PATTERNS)
  local head = { g = ARGV[1], p = base, i = ARGV[1], b = base, bg = ARGV[1], f = base, l = longest }
  save(head)
  redis.call('HSET', PATTERNS, '@', head.bg)
  return head
end

local function stored()
  local got = redis.call('HMGET', HEAD, 'g', 'p', 'i', 'b', 'bg', 'f', 'l')
  local head = { g = got[1], p = tonumber(got[2] or nil), i = got[3], b = tonumber(got[4] or nil), bg = got[5],
    f = tonumber(got[6] or nil), l = tonumber(got[7] or nil) }
  if head.g and head.p and head.i and head.b and head.bg and head.f and head.l then return head end
  return nil
end

local function current()
  return stored() or found(tonumber(ARGV[2]))
end

-- Evicted patterns are unknown: all that was stored before now is refused. True when nothing was lost.
local function patterns_known(head)
  if redis.call('HGET', PATTERNS, '@') == head.bg then return true end
  redis.call('UNLINK', PATTERNS)
  redis.call('HSET', PATTERNS, '@', head.bg, int(head.p), EVERYTHING)
  return false
end

-- Names the server process. One that has another name was promoted or restarted, and may have lost what came last.
local function run_id()
  local info = redis.pcall('INFO', 'server')
  return type(info) == 'string' and string.match(info, 'run_id:(%w+)') or '-'
end

-- Since when every live follower is on the list.
local function complete_since(run)
  local marker = redis.call('HGET', FOLLOWERS, '@')
  local of, since = string.match(marker or '', '^(%S+)|(%d+)$')
  if of == run and tonumber(since) <= now then return tonumber(since) end
  redis.call('HSET', FOLLOWERS, '@', run .. '|' .. int(now))
  return now
end

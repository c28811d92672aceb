-- Registers a follower and tells where the log stands against it; founds the log if it is not there.
-- ARGV[4] node, ARGV[5] position applied ('' for none), ARGV[6] id there,
--   ARGV[7] name of the server process that last confirmed what was applied
-- Reply: generation, position, id there, standing, name of the founding, name of the server process
-- @include log-state
local node, applied, id, confirmed = ARGV[4], tonumber(ARGV[5]), ARGV[6], ARGV[7]
local run = run_id()
local head = current()
local last = redis.call('XREVRANGE', LOG, '+', '-', 'COUNT', 1)[1]
-- Records that the head knows nothing of: somebody else wrote there. Nobody could get past them.
if last and tonumber(string.match(last[1], '^%d+')) > head.p then head = found(tonumber(ARGV[2])) end
complete_since(run)
if lease > head.l then
  head.l = lease
  redis.call('HSET', HEAD, 'l', int(lease))
end

local function record_at(position)
  local at = int(position) .. '-0'
  return redis.call('XRANGE', LOG, at, at)[1]
end

local function id_of(record)
  for at = 1, #record[2], 2 do
    if record[2][at] == 'i' then return record[2][at + 1] end
  end
end

-- The record applied is not there any more. Whether it ever was in this history, only a server process that
-- has seen it can tell: another one may have lost it, gone on without, and trimmed since.
local function missing(position)
  local first = redis.call('XRANGE', LOG, '-', '+', 'COUNT', 1)[1]
  if first and tonumber(string.match(first[1], '^%d+')) <= position then return 'other' end
  return confirmed == run and 'trimmed' or 'other'
end

local function standing()
  if not applied then return 'new' end
  if applied > head.p or applied < head.b then return 'other' end
  if applied == head.p then return id == head.i and 'same' or 'other' end
  if applied == head.b then
    if id ~= head.bg then return 'other' end
  else
    local record = record_at(applied)
    if not record then return missing(applied) end
    if id_of(record) ~= id then return 'other' end
  end
  return record_at(applied + 1) and 'same' or 'trimmed'
end

-- A follower that must begin again still serves what it knew until it hears this answer: it acknowledges nothing.
local answer = standing()
local old = redis.call('HGET', FOLLOWERS, node)
local acked = 0
if answer == 'same' then acked = applied
elseif old then acked = parse(old)
elseif answer == 'new' then acked = head.p end
-- After a write, even one that changes nothing, Redis lets the rest of a script write though there is no memory.
-- What a follower writes is small, and without it nobody could trust what is cached.
redis.call('HDEL', FOLLOWERS, '')
redis.call('HSET', FOLLOWERS, node, int(acked) .. '|' .. int(now + lease) .. '|' .. int(lease))
return { head.g, int(head.p), head.i, answer, head.bg, run }

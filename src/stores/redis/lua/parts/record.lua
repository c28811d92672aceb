-- What the scripts of the store know about records: see docs/redis.md for the layouts.
-- A record is an entry, a lease, or a lease followed by an entry. Anything else is neither.

-- 40 bits, all ones: a span without end.
local INFINITE = 1099511627775
-- Enough of a record for `parse`, without the value.
local HEAD = 511

local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)

local function whole(number)
  return string.format('%.0f', number)
end

local function span(number)
  if number == INFINITE then return math.huge end
  return number
end

local function parse_binary(record, r)
  local at = 1
  if string.byte(record, 1) == 2 then
    if #record < 9 then return nil end
    local length
    r.awaited, r.ends, length = struct.unpack('>BI6B', record, 2)
    r.token = string.sub(record, 10, 9 + length)
    r.awaited_at = 1
    at = 10 + length
    if #r.token < length then return nil end
  end
  r.at = at
  if string.byte(record, at) ~= 1 or #record < at + 19 then return r.token and r end
  local flags, stored_at, ttl, as_of, next = struct.unpack('>BI6I5I6', record, at + 1)
  if bit.band(flags, 32) ~= 0 then
    if #record < at + 21 then return r.token and r end
    as_of, next = struct.unpack('>d', record, at + 13)
  end
  local grace = 0
  if bit.band(flags, 1) ~= 0 then
    if #record < next + 5 then return r.token and r end
    grace, next = struct.unpack('>I5', record, next)
  end
  local length = string.byte(record, next)
  if not length then return r.token and r end
  r.stored_at, r.ttl, r.grace, r.as_of = stored_at, span(ttl), span(grace), as_of
  r.packed = bit.band(flags, 64) ~= 0
  r.generation = string.sub(record, next + 1, next + length)
  return r
end

local function parse_json(record, r)
  r.json = true
  r.at = 1
  local token, ends, before, awaited, after =
    string.match(record, '^{"lease":"([%w_-]+)","until":(%d+),"awaited":()([01])()')
  if token then
    r.token, r.ends, r.awaited, r.awaited_at, r.at = token, tonumber(ends), tonumber(awaited), before - 1, after
  end
  local stored_at, ttl, grace, as_of, generation = string.match(record,
    '^[{,]"storedAt":(%d%d%d%d%d%d%d%d%d%d%d%d%d),"ttl":(%w+),"grace":(%w+),"asOf":([%d.]+),"generation":"([^"]*)"', r.at)
  if stored_at then
    r.stored_at, r.as_of, r.generation = tonumber(stored_at), tonumber(as_of), generation
    r.ttl, r.grace = tonumber(ttl) or math.huge, tonumber(grace) or math.huge
  end
  return (r.token or r.stored_at) and r
end

-- The facts of a record, or of the head of one: `token`, `ends`, `awaited` of a lease; `stored_at`, `ttl`, `grace`,
-- `as_of`, `generation` of an entry, which begins at `at`. Nil for what is no record.
local function parse(record)
  local first = type(record) == 'string' and string.byte(record, 1)
  if first == 1 or first == 2 then return parse_binary(record, {}) end
  if first == 123 then return parse_json(record, {}) end
  return nil
end

-- A key that holds a list or a hash has no head.
local function head(key)
  return parse(redis.pcall('GETRANGE', key, 0, HEAD))
end

-- Milliseconds that an entry may still serve, fresh or stale.
local function life(r)
  if not r or not r.stored_at then return 0 end
  return r.stored_at + r.ttl + r.grace - now
end

local function is_fresh(r)
  return r and r.stored_at and now - r.stored_at < r.ttl
end

local function is_held(r)
  return r and r.token and r.ends > now
end

-- The entry of a whole record, without its lease.
local function entry_of(record, r)
  if r.at == 1 then return record end
  if r.json then return '{' .. string.sub(record, r.at + 1) end
  return string.sub(record, r.at)
end

-- The lease in front of an entry, or alone. `awaited`: 1 or 0.
local function leased(token, ends, awaited, entry, json)
  if json then
    return '{"lease":"' .. token .. '","until":' .. whole(ends) .. ',"awaited":' .. awaited
      .. (entry and ',' .. string.sub(entry, 2) or '}')
  end
  return string.char(2, awaited) .. struct.pack('>I6B', ends, #token) .. token .. (entry or '')
end

-- The entry with another beginning, and another ttl when there is one.
local function stamped(entry, stored_at, ttl)
  if string.byte(entry, 1) == 1 then
    return string.sub(entry, 1, 2) .. struct.pack('>I6', stored_at)
      .. (ttl and struct.pack('>I5', ttl) .. string.sub(entry, 14) or string.sub(entry, 9))
  end
  if not ttl then return string.sub(entry, 1, 12) .. whole(stored_at) .. string.sub(entry, 26) end
  return '{"storedAt":' .. whole(stored_at) .. ',"ttl":' .. (ttl == INFINITE and 'null' or whole(ttl))
    .. string.match(entry, '^{"storedAt":%d+,"ttl":%w+(.*)$')
end

-- Stores for so many milliseconds; answers the error, if any (no memory, mostly).
local function put(key, record, ms)
  if ms <= 0 then
    redis.call('UNLINK', key)
    return nil
  end
  local reply
  if ms == math.huge then
    reply = redis.pcall('SET', key, record)
  else
    reply = redis.pcall('SET', key, record, 'PX', whole(ms))
  end
  return type(reply) == 'table' and reply.err and reply or nil
end

-- Takes the entry away, and leaves the lease.
local function strip(key, r)
  if not is_held(r) or put(key, leased(r.token, r.ends, r.awaited, nil, r.json), r.ends - now) then
    redis.call('UNLINK', key)
  end
end

// Written by scripts/embed-lua.mjs from lua/*.lua: change those, and run it again.
import type { Script } from "./redis-link.ts";

/** lua/clear.lua */
export const clearScript: Script = {
  sha: "0364a563260c1e3fbf705b5761851dc7a7dda97a",
  text: `local INFINITE = 1099511627775
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
local function parse(record)
local first = type(record) == 'string' and string.byte(record, 1)
if first == 1 or first == 2 then return parse_binary(record, {}) end
if first == 123 then return parse_json(record, {}) end
return nil
end
local function head(key)
return parse(redis.pcall('GETRANGE', key, 0, HEAD))
end
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
local function entry_of(record, r)
if r.at == 1 then return record end
if r.json then return '{' .. string.sub(record, r.at + 1) end
return string.sub(record, r.at)
end
local function leased(token, ends, awaited, entry, json)
if json then
return '{"lease":"' .. token .. '","until":' .. whole(ends) .. ',"awaited":' .. awaited
.. (entry and ',' .. string.sub(entry, 2) or '}')
end
return string.char(2, awaited) .. struct.pack('>I6B', ends, #token) .. token .. (entry or '')
end
local function stamped(entry, stored_at, ttl)
if string.byte(entry, 1) == 1 then
return string.sub(entry, 1, 2) .. struct.pack('>I6', stored_at)
.. (ttl and struct.pack('>I5', ttl) .. string.sub(entry, 14) or string.sub(entry, 9))
end
if not ttl then return string.sub(entry, 1, 12) .. whole(stored_at) .. string.sub(entry, 26) end
return '{"storedAt":' .. whole(stored_at) .. ',"ttl":' .. (ttl == INFINITE and 'null' or whole(ttl))
.. string.match(entry, '^{"storedAt":%d+,"ttl":%w+(.*)$')
end
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
local function strip(key, r)
if not is_held(r) or put(key, leased(r.token, r.ends, r.awaited, nil, r.json), r.ends - now) then
redis.call('UNLINK', key)
end
end
local removed = 0
for _, key in ipairs(KEYS) do
local r = head(key)
if r and r.stored_at and r.generation ~= ARGV[r.json and 2 or r.packed and 3 or 1] then
removed = removed + 1
strip(key, r)
end
end
return removed`,
};

/** lua/expire.lua */
export const expireScript: Script = {
  sha: "08005bf3ff34e9cbe47008b2edc2627450fec329",
  text: `local INFINITE = 1099511627775
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
local function parse(record)
local first = type(record) == 'string' and string.byte(record, 1)
if first == 1 or first == 2 then return parse_binary(record, {}) end
if first == 123 then return parse_json(record, {}) end
return nil
end
local function head(key)
return parse(redis.pcall('GETRANGE', key, 0, HEAD))
end
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
local function entry_of(record, r)
if r.at == 1 then return record end
if r.json then return '{' .. string.sub(record, r.at + 1) end
return string.sub(record, r.at)
end
local function leased(token, ends, awaited, entry, json)
if json then
return '{"lease":"' .. token .. '","until":' .. whole(ends) .. ',"awaited":' .. awaited
.. (entry and ',' .. string.sub(entry, 2) or '}')
end
return string.char(2, awaited) .. struct.pack('>I6B', ends, #token) .. token .. (entry or '')
end
local function stamped(entry, stored_at, ttl)
if string.byte(entry, 1) == 1 then
return string.sub(entry, 1, 2) .. struct.pack('>I6', stored_at)
.. (ttl and struct.pack('>I5', ttl) .. string.sub(entry, 14) or string.sub(entry, 9))
end
if not ttl then return string.sub(entry, 1, 12) .. whole(stored_at) .. string.sub(entry, 26) end
return '{"storedAt":' .. whole(stored_at) .. ',"ttl":' .. (ttl == INFINITE and 'null' or whole(ttl))
.. string.match(entry, '^{"storedAt":%d+,"ttl":%w+(.*)$')
end
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
local function strip(key, r)
if not is_held(r) or put(key, leased(r.token, r.ends, r.awaited, nil, r.json), r.ends - now) then
redis.call('UNLINK', key)
end
end
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
if put(key, entry, left) then redis.call('UNLINK', key) end
elseif not lives then
redis.call('UNLINK', key)
end
end
return expired`,
};

/** lua/fill.lua */
export const fillScript: Script = {
  sha: "01d4ee019017e78a6ba2042d00a8a3598a243c5a",
  text: `local INFINITE = 1099511627775
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
local function parse(record)
local first = type(record) == 'string' and string.byte(record, 1)
if first == 1 or first == 2 then return parse_binary(record, {}) end
if first == 123 then return parse_json(record, {}) end
return nil
end
local function head(key)
return parse(redis.pcall('GETRANGE', key, 0, HEAD))
end
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
local function entry_of(record, r)
if r.at == 1 then return record end
if r.json then return '{' .. string.sub(record, r.at + 1) end
return string.sub(record, r.at)
end
local function leased(token, ends, awaited, entry, json)
if json then
return '{"lease":"' .. token .. '","until":' .. whole(ends) .. ',"awaited":' .. awaited
.. (entry and ',' .. string.sub(entry, 2) or '}')
end
return string.char(2, awaited) .. struct.pack('>I6B', ends, #token) .. token .. (entry or '')
end
local function stamped(entry, stored_at, ttl)
if string.byte(entry, 1) == 1 then
return string.sub(entry, 1, 2) .. struct.pack('>I6', stored_at)
.. (ttl and struct.pack('>I5', ttl) .. string.sub(entry, 14) or string.sub(entry, 9))
end
if not ttl then return string.sub(entry, 1, 12) .. whole(stored_at) .. string.sub(entry, 26) end
return '{"storedAt":' .. whole(stored_at) .. ',"ttl":' .. (ttl == INFINITE and 'null' or whole(ttl))
.. string.match(entry, '^{"storedAt":%d+,"ttl":%w+(.*)$')
end
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
local function strip(key, r)
if not is_held(r) or put(key, leased(r.token, r.ends, r.awaited, nil, r.json), r.ends - now) then
redis.call('UNLINK', key)
end
end
local r = head(KEYS[1])
if not is_held(r) or r.token ~= ARGV[1] then return 0 end
local failure = put(KEYS[1], stamped(ARGV[2], now), tonumber(ARGV[3]) or math.huge)
if failure then return failure end
return 1 + r.awaited`,
};

/** lua/log-append.lua */
export const logAppendScript: Script = {
  sha: "827e03f7916fd984b6d09c1cc43a16bdc3e99fab",
  text: `local LOG, HEAD, FOLLOWERS, PATTERNS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
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
local function patterns_known(head)
if redis.call('HGET', PATTERNS, '@') == head.bg then return true end
redis.call('UNLINK', PATTERNS)
redis.call('HSET', PATTERNS, '@', head.bg, int(head.p), EVERYTHING)
return false
end
local function run_id()
local info = redis.pcall('INFO', 'server')
return type(info) == 'string' and string.match(info, 'run_id:(%w+)') or '-'
end
local function complete_since(run)
local marker = redis.call('HGET', FOLLOWERS, '@')
local of, since = string.match(marker or '', '^(%S+)|(%d+)$')
if of == run and tonumber(since) <= now then return tonumber(since) end
redis.call('HSET', FOLLOWERS, '@', run .. '|' .. int(now))
return now
end
local kept, most_tags, most_patterns = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local head = current()
local function add(id, json)
return redis.pcall('XADD', LOG, 'MAXLEN', '~', kept, int(head.p + 1) .. '-0', 'r', json, 'i', id,
'a', head.i)
end
local function forget_tags()
redis.call('UNLINK', HEAD)
head.f = head.p
end
local function mark_tags(prefix, from, count)
local fields = {}
for at = from, from + count - 1 do
fields[#fields + 1] = prefix .. ARGV[at]
fields[#fields + 1] = int(head.p)
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
return { head.g, int(head.p) }`,
};

/** lua/log-join.lua */
export const logJoinScript: Script = {
  sha: "e7dfc44f1838dd8904bc437d6139cd8d970ed582",
  text: `local LOG, HEAD, FOLLOWERS, PATTERNS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
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
local function patterns_known(head)
if redis.call('HGET', PATTERNS, '@') == head.bg then return true end
redis.call('UNLINK', PATTERNS)
redis.call('HSET', PATTERNS, '@', head.bg, int(head.p), EVERYTHING)
return false
end
local function run_id()
local info = redis.pcall('INFO', 'server')
return type(info) == 'string' and string.match(info, 'run_id:(%w+)') or '-'
end
local function complete_since(run)
local marker = redis.call('HGET', FOLLOWERS, '@')
local of, since = string.match(marker or '', '^(%S+)|(%d+)$')
if of == run and tonumber(since) <= now then return tonumber(since) end
redis.call('HSET', FOLLOWERS, '@', run .. '|' .. int(now))
return now
end
local node, applied, id, confirmed = ARGV[4], tonumber(ARGV[5]), ARGV[6], ARGV[7]
local run = run_id()
local head = current()
local last = redis.call('XREVRANGE', LOG, '+', '-', 'COUNT', 1)[1]
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
local answer = standing()
local old = redis.call('HGET', FOLLOWERS, node)
local acked = 0
if answer == 'same' then acked = applied
elseif old then acked = parse(old)
elseif answer == 'new' then acked = head.p end
redis.call('HDEL', FOLLOWERS, '')
redis.call('HSET', FOLLOWERS, node, int(acked) .. '|' .. int(now + lease) .. '|' .. int(lease))
return { head.g, int(head.p), head.i, answer, head.bg, run }`,
};

/** lua/log-patterns.lua */
export const logPatternsScript: Script = {
  sha: "8f640dd9edde819c925b9c23c384de4e9bda1047",
  text: `local LOG, HEAD, FOLLOWERS, PATTERNS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
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
local function patterns_known(head)
if redis.call('HGET', PATTERNS, '@') == head.bg then return true end
redis.call('UNLINK', PATTERNS)
redis.call('HSET', PATTERNS, '@', head.bg, int(head.p), EVERYTHING)
return false
end
local function run_id()
local info = redis.pcall('INFO', 'server')
return type(info) == 'string' and string.match(info, 'run_id:(%w+)') or '-'
end
local function complete_since(run)
local marker = redis.call('HGET', FOLLOWERS, '@')
local of, since = string.match(marker or '', '^(%S+)|(%d+)$')
if of == run and tonumber(since) <= now then return tonumber(since) end
redis.call('HSET', FOLLOWERS, '@', run .. '|' .. int(now))
return now
end
patterns_known(current())
return redis.call('HGETALL', PATTERNS)`,
};

/** lua/log-renounce.lua */
export const logRenounceScript: Script = {
  sha: "62462dabc36f82d474f28605c7f3c44197d8f0db",
  text: `local LOG, HEAD, FOLLOWERS, PATTERNS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
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
local function patterns_known(head)
if redis.call('HGET', PATTERNS, '@') == head.bg then return true end
redis.call('UNLINK', PATTERNS)
redis.call('HSET', PATTERNS, '@', head.bg, int(head.p), EVERYTHING)
return false
end
local function run_id()
local info = redis.pcall('INFO', 'server')
return type(info) == 'string' and string.match(info, 'run_id:(%w+)') or '-'
end
local function complete_since(run)
local marker = redis.call('HGET', FOLLOWERS, '@')
local of, since = string.match(marker or '', '^(%S+)|(%d+)$')
if of == run and tonumber(since) <= now then return tonumber(since) end
redis.call('HSET', FOLLOWERS, '@', run .. '|' .. int(now))
return now
end
local head = current()
if head.g == ARGV[4] then
head = found(math.max(head.p, tonumber(ARGV[2])))
head.p = head.p + 1
redis.call('XADD', LOG, int(head.p) .. '-0', 'r', ARGV[5], 'i', head.i, 'a', head.i)
save(head)
end
return { head.g, int(head.p) }`,
};

/** lua/log-swept.lua */
export const logSweptScript: Script = {
  sha: "845cbf87a180f62428283f6f4d9c13fae8b4b350",
  text: `if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then return redis.call('HDEL', KEYS[1], ARGV[1]) end
return 0`,
};

/** lua/log-unacknowledged.lua */
export const logUnacknowledgedScript: Script = {
  sha: "766d4187719e327efd6010e893f8a6916bbe6ae0",
  text: `local LOG, HEAD, FOLLOWERS, PATTERNS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
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
local function patterns_known(head)
if redis.call('HGET', PATTERNS, '@') == head.bg then return true end
redis.call('UNLINK', PATTERNS)
redis.call('HSET', PATTERNS, '@', head.bg, int(head.p), EVERYTHING)
return false
end
local function run_id()
local info = redis.pcall('INFO', 'server')
return type(info) == 'string' and string.match(info, 'run_id:(%w+)') or '-'
end
local function complete_since(run)
local marker = redis.call('HGET', FOLLOWERS, '@')
local of, since = string.match(marker or '', '^(%S+)|(%d+)$')
if of == run and tonumber(since) <= now then return tonumber(since) end
redis.call('HSET', FOLLOWERS, '@', run .. '|' .. int(now))
return now
end
local position = tonumber(ARGV[4])
local longest = math.max(lease, tonumber(redis.call('HGET', HEAD, 'l') or nil) or 0)
local left = math.max(0, complete_since(run_id()) + longest - now)
local all = redis.call('HGETALL', FOLLOWERS)
for at = 1, #all, 2 do
if all[at] ~= '@' then
local acked, til, own = parse(all[at + 1])
if til <= now then
redis.call('HDEL', FOLLOWERS, all[at])
elseif acked < position then
if til > now + own then
til = now + own
redis.call('HSET', FOLLOWERS, all[at], int(acked) .. '|' .. int(til) .. '|' .. int(own))
end
left = math.max(left, til - now)
end
end
end
return int(left)`,
};

/** lua/look.lua */
export const lookScript: Script = {
  sha: "66c01834ed41319ab4da23ca4480de15e5414e16",
  text: `local INFINITE = 1099511627775
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
local function parse(record)
local first = type(record) == 'string' and string.byte(record, 1)
if first == 1 or first == 2 then return parse_binary(record, {}) end
if first == 123 then return parse_json(record, {}) end
return nil
end
local function head(key)
return parse(redis.pcall('GETRANGE', key, 0, HEAD))
end
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
local function entry_of(record, r)
if r.at == 1 then return record end
if r.json then return '{' .. string.sub(record, r.at + 1) end
return string.sub(record, r.at)
end
local function leased(token, ends, awaited, entry, json)
if json then
return '{"lease":"' .. token .. '","until":' .. whole(ends) .. ',"awaited":' .. awaited
.. (entry and ',' .. string.sub(entry, 2) or '}')
end
return string.char(2, awaited) .. struct.pack('>I6B', ends, #token) .. token .. (entry or '')
end
local function stamped(entry, stored_at, ttl)
if string.byte(entry, 1) == 1 then
return string.sub(entry, 1, 2) .. struct.pack('>I6', stored_at)
.. (ttl and struct.pack('>I5', ttl) .. string.sub(entry, 14) or string.sub(entry, 9))
end
if not ttl then return string.sub(entry, 1, 12) .. whole(stored_at) .. string.sub(entry, 26) end
return '{"storedAt":' .. whole(stored_at) .. ',"ttl":' .. (ttl == INFINITE and 'null' or whole(ttl))
.. string.match(entry, '^{"storedAt":%d+,"ttl":%w+(.*)$')
end
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
local function strip(key, r)
if not is_held(r) or put(key, leased(r.token, r.ends, r.awaited, nil, r.json), r.ends - now) then
redis.call('UNLINK', key)
end
end
local letters, bytes = {}, 0
for i, key in ipairs(KEYS) do
local lives = life(head(key)) > 0
letters[i] = lives and '1' or '0'
if lives then bytes = bytes + #key + redis.call('STRLEN', key) end
end
return {table.concat(letters), bytes}`,
};

/** lua/read.lua */
export const readScript: Script = {
  sha: "1b1a3b46b4108848ee7474a403e9136d5f705c1e",
  text: `local ENOUGH = 1048576
local reply, bytes, count, step = {0, ''}, 0, 0, 1
while count < #KEYS and bytes < ENOUGH do
local last = math.min(count + step, #KEYS)
local records = redis.call('MGET', unpack(KEYS, count + 1, last))
for i = 1, last - count do
local record = records[i]
reply[2 + count + i] = record
if record then bytes = bytes + #record end
end
count, step = last, step * 2
end
local time = redis.call('TIME')
local at = time[1] * 1000 + math.floor(time[2] / 1000)
local function is_plainly_fresh(record)
if not record or #record < 13 or string.byte(record, 1) ~= 1 then return false end
local stored_at, ttl = struct.unpack('>I6I5', record, 3)
return ttl == 1099511627775 or at - stored_at < ttl
end
local plain = ARGV[1] == '' and count or 0
if ARGV[2] == '0' then
while plain < count and is_plainly_fresh(reply[3 + plain]) do plain = plain + 1 end
end
if plain == count then
reply[1] = at
if ARGV[1] ~= '' then reply[2] = string.rep('-', count) end
return reply
end
local INFINITE = 1099511627775
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
local function parse(record)
local first = type(record) == 'string' and string.byte(record, 1)
if first == 1 or first == 2 then return parse_binary(record, {}) end
if first == 123 then return parse_json(record, {}) end
return nil
end
local function head(key)
return parse(redis.pcall('GETRANGE', key, 0, HEAD))
end
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
local function entry_of(record, r)
if r.at == 1 then return record end
if r.json then return '{' .. string.sub(record, r.at + 1) end
return string.sub(record, r.at)
end
local function leased(token, ends, awaited, entry, json)
if json then
return '{"lease":"' .. token .. '","until":' .. whole(ends) .. ',"awaited":' .. awaited
.. (entry and ',' .. string.sub(entry, 2) or '}')
end
return string.char(2, awaited) .. struct.pack('>I6B', ends, #token) .. token .. (entry or '')
end
local function stamped(entry, stored_at, ttl)
if string.byte(entry, 1) == 1 then
return string.sub(entry, 1, 2) .. struct.pack('>I6', stored_at)
.. (ttl and struct.pack('>I5', ttl) .. string.sub(entry, 14) or string.sub(entry, 9))
end
if not ttl then return string.sub(entry, 1, 12) .. whole(stored_at) .. string.sub(entry, 26) end
return '{"storedAt":' .. whole(stored_at) .. ',"ttl":' .. (ttl == INFINITE and 'null' or whole(ttl))
.. string.match(entry, '^{"storedAt":%d+,"ttl":%w+(.*)$')
end
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
local function strip(key, r)
if not is_held(r) or put(key, leased(r.token, r.ends, r.awaited, nil, r.json), r.ends - now) then
redis.call('UNLINK', key)
end
end
local ends, token = now + tonumber(ARGV[1]), ARGV[3]
local letters, lent = {}, {}
local function lend(key, record)
local r = parse(record)
if ARGV[2] ~= '1' and is_fresh(r) then return '-' end
local busy = lent[key] or is_held(r) and r
if busy then
if busy.awaited == 0 then redis.pcall('SETRANGE', key, busy.awaited_at, busy.json and '1' or '\\1') end
busy.awaited = 1
return 'b'
end
if not record and redis.call('EXISTS', key) == 1 then redis.call('UNLINK', key) end
local left = life(r)
local entry = left > 0 and entry_of(record, r) or nil
local json = ARGV[4] == 'json'
if entry then json = r.json end
local new = leased(token, ends, 0, entry, json)
if put(key, new, math.max(left, ends - now)) then return '-' end
lent[key] = parse(string.sub(new, 1, HEAD))
return 't'
end
for i = 1, count do letters[i] = lend(KEYS[i], reply[2 + i]) end
reply[1], reply[2] = now, table.concat(letters)
return reply`,
};

/** lua/release.lua */
export const releaseScript: Script = {
  sha: "22727f455e196906f522a338ef7eea71728c0348",
  text: `local INFINITE = 1099511627775
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
local function parse(record)
local first = type(record) == 'string' and string.byte(record, 1)
if first == 1 or first == 2 then return parse_binary(record, {}) end
if first == 123 then return parse_json(record, {}) end
return nil
end
local function head(key)
return parse(redis.pcall('GETRANGE', key, 0, HEAD))
end
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
local function entry_of(record, r)
if r.at == 1 then return record end
if r.json then return '{' .. string.sub(record, r.at + 1) end
return string.sub(record, r.at)
end
local function leased(token, ends, awaited, entry, json)
if json then
return '{"lease":"' .. token .. '","until":' .. whole(ends) .. ',"awaited":' .. awaited
.. (entry and ',' .. string.sub(entry, 2) or '}')
end
return string.char(2, awaited) .. struct.pack('>I6B', ends, #token) .. token .. (entry or '')
end
local function stamped(entry, stored_at, ttl)
if string.byte(entry, 1) == 1 then
return string.sub(entry, 1, 2) .. struct.pack('>I6', stored_at)
.. (ttl and struct.pack('>I5', ttl) .. string.sub(entry, 14) or string.sub(entry, 9))
end
if not ttl then return string.sub(entry, 1, 12) .. whole(stored_at) .. string.sub(entry, 26) end
return '{"storedAt":' .. whole(stored_at) .. ',"ttl":' .. (ttl == INFINITE and 'null' or whole(ttl))
.. string.match(entry, '^{"storedAt":%d+,"ttl":%w+(.*)$')
end
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
local function strip(key, r)
if not is_held(r) or put(key, leased(r.token, r.ends, r.awaited, nil, r.json), r.ends - now) then
redis.call('UNLINK', key)
end
end
local key = KEYS[1]
local r = head(key)
if not is_held(r) or r.token ~= ARGV[1] then return 0 end
local left = life(r)
if left <= 0 or put(key, entry_of(redis.call('GET', key), r), left) then redis.call('UNLINK', key) end
return r.awaited`,
};

/** lua/remove.lua */
export const removeScript: Script = {
  sha: "382113e7cb6f59eaac305a468d4897bed3e795f9",
  text: `local INFINITE = 1099511627775
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
local function parse(record)
local first = type(record) == 'string' and string.byte(record, 1)
if first == 1 or first == 2 then return parse_binary(record, {}) end
if first == 123 then return parse_json(record, {}) end
return nil
end
local function head(key)
return parse(redis.pcall('GETRANGE', key, 0, HEAD))
end
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
local function entry_of(record, r)
if r.at == 1 then return record end
if r.json then return '{' .. string.sub(record, r.at + 1) end
return string.sub(record, r.at)
end
local function leased(token, ends, awaited, entry, json)
if json then
return '{"lease":"' .. token .. '","until":' .. whole(ends) .. ',"awaited":' .. awaited
.. (entry and ',' .. string.sub(entry, 2) or '}')
end
return string.char(2, awaited) .. struct.pack('>I6B', ends, #token) .. token .. (entry or '')
end
local function stamped(entry, stored_at, ttl)
if string.byte(entry, 1) == 1 then
return string.sub(entry, 1, 2) .. struct.pack('>I6', stored_at)
.. (ttl and struct.pack('>I5', ttl) .. string.sub(entry, 14) or string.sub(entry, 9))
end
if not ttl then return string.sub(entry, 1, 12) .. whole(stored_at) .. string.sub(entry, 26) end
return '{"storedAt":' .. whole(stored_at) .. ',"ttl":' .. (ttl == INFINITE and 'null' or whole(ttl))
.. string.match(entry, '^{"storedAt":%d+,"ttl":%w+(.*)$')
end
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
local function strip(key, r)
if not is_held(r) or put(key, leased(r.token, r.ends, r.awaited, nil, r.json), r.ends - now) then
redis.call('UNLINK', key)
end
end
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
return removed`,
};

/** lua/renew.lua */
export const renewScript: Script = {
  sha: "c9129adc28ef0ada2ca918d8785ea0e1df3544fe",
  text: `local INFINITE = 1099511627775
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
local function parse(record)
local first = type(record) == 'string' and string.byte(record, 1)
if first == 1 or first == 2 then return parse_binary(record, {}) end
if first == 123 then return parse_json(record, {}) end
return nil
end
local function head(key)
return parse(redis.pcall('GETRANGE', key, 0, HEAD))
end
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
local function entry_of(record, r)
if r.at == 1 then return record end
if r.json then return '{' .. string.sub(record, r.at + 1) end
return string.sub(record, r.at)
end
local function leased(token, ends, awaited, entry, json)
if json then
return '{"lease":"' .. token .. '","until":' .. whole(ends) .. ',"awaited":' .. awaited
.. (entry and ',' .. string.sub(entry, 2) or '}')
end
return string.char(2, awaited) .. struct.pack('>I6B', ends, #token) .. token .. (entry or '')
end
local function stamped(entry, stored_at, ttl)
if string.byte(entry, 1) == 1 then
return string.sub(entry, 1, 2) .. struct.pack('>I6', stored_at)
.. (ttl and struct.pack('>I5', ttl) .. string.sub(entry, 14) or string.sub(entry, 9))
end
if not ttl then return string.sub(entry, 1, 12) .. whole(stored_at) .. string.sub(entry, 26) end
return '{"storedAt":' .. whole(stored_at) .. ',"ttl":' .. (ttl == INFINITE and 'null' or whole(ttl))
.. string.match(entry, '^{"storedAt":%d+,"ttl":%w+(.*)$')
end
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
local function strip(key, r)
if not is_held(r) or put(key, leased(r.token, r.ends, r.awaited, nil, r.json), r.ends - now) then
redis.call('UNLINK', key)
end
end
local key, ms = KEYS[1], tonumber(ARGV[2])
local r = head(key)
if not is_held(r) or r.token ~= ARGV[1] then return 0 end
if r.json then
redis.call('SETRANGE', key, r.awaited_at - #',"awaited":' - 13, whole(now + ms))
else
redis.call('SETRANGE', key, 2, struct.pack('>I6', now + ms))
end
local left = math.max(life(r), ms)
if left < math.huge then redis.call('PEXPIRE', key, whole(left)) end
return 1`,
};

/** lua/touch.lua */
export const touchScript: Script = {
  sha: "b43aff79f1e90cfb50bc668a0e8fad6ac40edc32",
  text: `local INFINITE = 1099511627775
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
local function parse(record)
local first = type(record) == 'string' and string.byte(record, 1)
if first == 1 or first == 2 then return parse_binary(record, {}) end
if first == 123 then return parse_json(record, {}) end
return nil
end
local function head(key)
return parse(redis.pcall('GETRANGE', key, 0, HEAD))
end
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
local function entry_of(record, r)
if r.at == 1 then return record end
if r.json then return '{' .. string.sub(record, r.at + 1) end
return string.sub(record, r.at)
end
local function leased(token, ends, awaited, entry, json)
if json then
return '{"lease":"' .. token .. '","until":' .. whole(ends) .. ',"awaited":' .. awaited
.. (entry and ',' .. string.sub(entry, 2) or '}')
end
return string.char(2, awaited) .. struct.pack('>I6B', ends, #token) .. token .. (entry or '')
end
local function stamped(entry, stored_at, ttl)
if string.byte(entry, 1) == 1 then
return string.sub(entry, 1, 2) .. struct.pack('>I6', stored_at)
.. (ttl and struct.pack('>I5', ttl) .. string.sub(entry, 14) or string.sub(entry, 9))
end
if not ttl then return string.sub(entry, 1, 12) .. whole(stored_at) .. string.sub(entry, 26) end
return '{"storedAt":' .. whole(stored_at) .. ',"ttl":' .. (ttl == INFINITE and 'null' or whole(ttl))
.. string.match(entry, '^{"storedAt":%d+,"ttl":%w+(.*)$')
end
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
local function strip(key, r)
if not is_held(r) or put(key, leased(r.token, r.ends, r.awaited, nil, r.json), r.ends - now) then
redis.call('UNLINK', key)
end
end
local key, ttl = KEYS[1], tonumber(ARGV[1])
local r = head(key)
if not is_fresh(r) then return 0 end
local entry = stamped(entry_of(redis.call('GET', key), r), now, ttl)
local left = span(ttl) + r.grace
if is_held(r) then
entry = leased(r.token, r.ends, r.awaited, entry, r.json)
left = math.max(left, r.ends - now)
end
return put(key, entry, left) or 1`,
};

/** lua/write.lua */
export const writeScript: Script = {
  sha: "1701687db48eea6c5123563b848fbf6aa60ab34a",
  text: `local INFINITE = 1099511627775
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
local function parse(record)
local first = type(record) == 'string' and string.byte(record, 1)
if first == 1 or first == 2 then return parse_binary(record, {}) end
if first == 123 then return parse_json(record, {}) end
return nil
end
local function head(key)
return parse(redis.pcall('GETRANGE', key, 0, HEAD))
end
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
local function entry_of(record, r)
if r.at == 1 then return record end
if r.json then return '{' .. string.sub(record, r.at + 1) end
return string.sub(record, r.at)
end
local function leased(token, ends, awaited, entry, json)
if json then
return '{"lease":"' .. token .. '","until":' .. whole(ends) .. ',"awaited":' .. awaited
.. (entry and ',' .. string.sub(entry, 2) or '}')
end
return string.char(2, awaited) .. struct.pack('>I6B', ends, #token) .. token .. (entry or '')
end
local function stamped(entry, stored_at, ttl)
if string.byte(entry, 1) == 1 then
return string.sub(entry, 1, 2) .. struct.pack('>I6', stored_at)
.. (ttl and struct.pack('>I5', ttl) .. string.sub(entry, 14) or string.sub(entry, 9))
end
if not ttl then return string.sub(entry, 1, 12) .. whole(stored_at) .. string.sub(entry, 26) end
return '{"storedAt":' .. whole(stored_at) .. ',"ttl":' .. (ttl == INFINITE and 'null' or whole(ttl))
.. string.match(entry, '^{"storedAt":%d+,"ttl":%w+(.*)$')
end
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
local function strip(key, r)
if not is_held(r) or put(key, leased(r.token, r.ends, r.awaited, nil, r.json), r.ends - now) then
redis.call('UNLINK', key)
end
end
local failure
for i, key in ipairs(KEYS) do
failure = failure or put(key, stamped(ARGV[2 * i - 1], now), tonumber(ARGV[2 * i]) or math.huge)
end
return failure or redis.status_reply('OK')`,
};

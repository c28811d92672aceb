// Written by scripts/embed-lua.mjs from lua/*.lua: change those, and run it again.
import type { Script } from "./redis-link.ts";

/** lua/clear.lua */
export const clearScript: Script = {
  sha: "d90e34eb27794ff16d9c4345c11968638e94d227",
  text: `local INFINITE = 281474976710655
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
if string.byte(record, at) ~= 1 or #record < at + 20 then return r.token and r end
local flags, stored_at, ttl, as_of, next = struct.unpack('>BI6I6I6', record, at + 1)
if bit.band(flags, 32) ~= 0 then
if #record < at + 22 then return r.token and r end
as_of, next = struct.unpack('>d', record, at + 14)
end
local grace = 0
if bit.band(flags, 1) ~= 0 then
if #record < next + 6 then return r.token and r end
grace, next = struct.unpack('>I6', record, next)
end
local length = string.byte(record, next)
if not length then return r.token and r end
r.stored_at, r.ttl, r.grace, r.as_of = stored_at, span(ttl), span(grace), as_of
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
.. (ttl and struct.pack('>I6', ttl) .. string.sub(entry, 15) or string.sub(entry, 9))
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
if r and r.stored_at and r.generation ~= (r.json and ARGV[2] or ARGV[1]) then
removed = removed + 1
strip(key, r)
end
end
return removed`,
};

/** lua/expire.lua */
export const expireScript: Script = {
  sha: "9d4d5c91a1a17ddf6f0d01e59115b659edfc9ae0",
  text: `local INFINITE = 281474976710655
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
if string.byte(record, at) ~= 1 or #record < at + 20 then return r.token and r end
local flags, stored_at, ttl, as_of, next = struct.unpack('>BI6I6I6', record, at + 1)
if bit.band(flags, 32) ~= 0 then
if #record < at + 22 then return r.token and r end
as_of, next = struct.unpack('>d', record, at + 14)
end
local grace = 0
if bit.band(flags, 1) ~= 0 then
if #record < next + 6 then return r.token and r end
grace, next = struct.unpack('>I6', record, next)
end
local length = string.byte(record, next)
if not length then return r.token and r end
r.stored_at, r.ttl, r.grace, r.as_of = stored_at, span(ttl), span(grace), as_of
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
.. (ttl and struct.pack('>I6', ttl) .. string.sub(entry, 15) or string.sub(entry, 9))
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
elseif not lives and r and r.token then
redis.call('UNLINK', key)
end
end
return expired`,
};

/** lua/fill.lua */
export const fillScript: Script = {
  sha: "56a2ffdf68158230f53722937b7973078b994e3a",
  text: `local INFINITE = 281474976710655
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
if string.byte(record, at) ~= 1 or #record < at + 20 then return r.token and r end
local flags, stored_at, ttl, as_of, next = struct.unpack('>BI6I6I6', record, at + 1)
if bit.band(flags, 32) ~= 0 then
if #record < at + 22 then return r.token and r end
as_of, next = struct.unpack('>d', record, at + 14)
end
local grace = 0
if bit.band(flags, 1) ~= 0 then
if #record < next + 6 then return r.token and r end
grace, next = struct.unpack('>I6', record, next)
end
local length = string.byte(record, next)
if not length then return r.token and r end
r.stored_at, r.ttl, r.grace, r.as_of = stored_at, span(ttl), span(grace), as_of
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
.. (ttl and struct.pack('>I6', ttl) .. string.sub(entry, 15) or string.sub(entry, 9))
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

/** lua/look.lua */
export const lookScript: Script = {
  sha: "7c50e6f590c735375687c5278e450827915aba13",
  text: `local INFINITE = 281474976710655
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
if string.byte(record, at) ~= 1 or #record < at + 20 then return r.token and r end
local flags, stored_at, ttl, as_of, next = struct.unpack('>BI6I6I6', record, at + 1)
if bit.band(flags, 32) ~= 0 then
if #record < at + 22 then return r.token and r end
as_of, next = struct.unpack('>d', record, at + 14)
end
local grace = 0
if bit.band(flags, 1) ~= 0 then
if #record < next + 6 then return r.token and r end
grace, next = struct.unpack('>I6', record, next)
end
local length = string.byte(record, next)
if not length then return r.token and r end
r.stored_at, r.ttl, r.grace, r.as_of = stored_at, span(ttl), span(grace), as_of
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
.. (ttl and struct.pack('>I6', ttl) .. string.sub(entry, 15) or string.sub(entry, 9))
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
  sha: "d2afbf922ca1d1e87ccdcb204fd556b6e032bd0a",
  text: `local records = redis.call('MGET', unpack(KEYS))
if ARGV[1] == '' then
local time = redis.call('TIME')
records[#KEYS + 1] = time[1] * 1000 + math.floor(time[2] / 1000)
return records
end
local INFINITE = 281474976710655
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
if string.byte(record, at) ~= 1 or #record < at + 20 then return r.token and r end
local flags, stored_at, ttl, as_of, next = struct.unpack('>BI6I6I6', record, at + 1)
if bit.band(flags, 32) ~= 0 then
if #record < at + 22 then return r.token and r end
as_of, next = struct.unpack('>d', record, at + 14)
end
local grace = 0
if bit.band(flags, 1) ~= 0 then
if #record < next + 6 then return r.token and r end
grace, next = struct.unpack('>I6', record, next)
end
local length = string.byte(record, next)
if not length then return r.token and r end
r.stored_at, r.ttl, r.grace, r.as_of = stored_at, span(ttl), span(grace), as_of
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
.. (ttl and struct.pack('>I6', ttl) .. string.sub(entry, 15) or string.sub(entry, 9))
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
local function lend(i, key)
local r = parse(records[i])
if ARGV[2] ~= '1' and is_fresh(r) then return '-' end
local busy = lent[key] or is_held(r) and r
if busy then
if busy.awaited == 0 then redis.call('SETRANGE', key, busy.awaited_at, busy.json and '1' or '\\1') end
busy.awaited = 1
return 'b'
end
if not records[i] then redis.call('UNLINK', key) end
local left = life(r)
local entry = left > 0 and entry_of(records[i], r) or nil
local json = ARGV[4] == 'json'
if entry then json = r.json end
local record = leased(token, ends, 0, entry, json)
if put(key, record, math.max(left, ends - now)) then return '-' end
lent[key] = parse(string.sub(record, 1, HEAD))
return 't'
end
for i, key in ipairs(KEYS) do letters[i] = lend(i, key) end
records[#KEYS + 1] = now
records[#KEYS + 2] = table.concat(letters)
return records`,
};

/** lua/release.lua */
export const releaseScript: Script = {
  sha: "2a3acec1b490e4e98ca25d7f59c1d3bf47094d55",
  text: `local INFINITE = 281474976710655
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
if string.byte(record, at) ~= 1 or #record < at + 20 then return r.token and r end
local flags, stored_at, ttl, as_of, next = struct.unpack('>BI6I6I6', record, at + 1)
if bit.band(flags, 32) ~= 0 then
if #record < at + 22 then return r.token and r end
as_of, next = struct.unpack('>d', record, at + 14)
end
local grace = 0
if bit.band(flags, 1) ~= 0 then
if #record < next + 6 then return r.token and r end
grace, next = struct.unpack('>I6', record, next)
end
local length = string.byte(record, next)
if not length then return r.token and r end
r.stored_at, r.ttl, r.grace, r.as_of = stored_at, span(ttl), span(grace), as_of
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
.. (ttl and struct.pack('>I6', ttl) .. string.sub(entry, 15) or string.sub(entry, 9))
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
  sha: "f869161cc3b6d64611c62ee6451deb4236531107",
  text: `local INFINITE = 281474976710655
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
if string.byte(record, at) ~= 1 or #record < at + 20 then return r.token and r end
local flags, stored_at, ttl, as_of, next = struct.unpack('>BI6I6I6', record, at + 1)
if bit.band(flags, 32) ~= 0 then
if #record < at + 22 then return r.token and r end
as_of, next = struct.unpack('>d', record, at + 14)
end
local grace = 0
if bit.band(flags, 1) ~= 0 then
if #record < next + 6 then return r.token and r end
grace, next = struct.unpack('>I6', record, next)
end
local length = string.byte(record, next)
if not length then return r.token and r end
r.stored_at, r.ttl, r.grace, r.as_of = stored_at, span(ttl), span(grace), as_of
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
.. (ttl and struct.pack('>I6', ttl) .. string.sub(entry, 15) or string.sub(entry, 9))
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
  sha: "2c5429076325c5ee071793186208925a68ccb226",
  text: `local INFINITE = 281474976710655
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
if string.byte(record, at) ~= 1 or #record < at + 20 then return r.token and r end
local flags, stored_at, ttl, as_of, next = struct.unpack('>BI6I6I6', record, at + 1)
if bit.band(flags, 32) ~= 0 then
if #record < at + 22 then return r.token and r end
as_of, next = struct.unpack('>d', record, at + 14)
end
local grace = 0
if bit.band(flags, 1) ~= 0 then
if #record < next + 6 then return r.token and r end
grace, next = struct.unpack('>I6', record, next)
end
local length = string.byte(record, next)
if not length then return r.token and r end
r.stored_at, r.ttl, r.grace, r.as_of = stored_at, span(ttl), span(grace), as_of
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
.. (ttl and struct.pack('>I6', ttl) .. string.sub(entry, 15) or string.sub(entry, 9))
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
  sha: "692f5f2966b7b53474738f3b279ca6e23ca849db",
  text: `local INFINITE = 281474976710655
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
if string.byte(record, at) ~= 1 or #record < at + 20 then return r.token and r end
local flags, stored_at, ttl, as_of, next = struct.unpack('>BI6I6I6', record, at + 1)
if bit.band(flags, 32) ~= 0 then
if #record < at + 22 then return r.token and r end
as_of, next = struct.unpack('>d', record, at + 14)
end
local grace = 0
if bit.band(flags, 1) ~= 0 then
if #record < next + 6 then return r.token and r end
grace, next = struct.unpack('>I6', record, next)
end
local length = string.byte(record, next)
if not length then return r.token and r end
r.stored_at, r.ttl, r.grace, r.as_of = stored_at, span(ttl), span(grace), as_of
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
.. (ttl and struct.pack('>I6', ttl) .. string.sub(entry, 15) or string.sub(entry, 9))
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
  sha: "68a64eafc08801efbad1d3f72eff2e6eb0d378ba",
  text: `local INFINITE = 281474976710655
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
if string.byte(record, at) ~= 1 or #record < at + 20 then return r.token and r end
local flags, stored_at, ttl, as_of, next = struct.unpack('>BI6I6I6', record, at + 1)
if bit.band(flags, 32) ~= 0 then
if #record < at + 22 then return r.token and r end
as_of, next = struct.unpack('>d', record, at + 14)
end
local grace = 0
if bit.band(flags, 1) ~= 0 then
if #record < next + 6 then return r.token and r end
grace, next = struct.unpack('>I6', record, next)
end
local length = string.byte(record, next)
if not length then return r.token and r end
r.stored_at, r.ttl, r.grace, r.as_of = stored_at, span(ttl), span(grace), as_of
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
.. (ttl and struct.pack('>I6', ttl) .. string.sub(entry, 15) or string.sub(entry, 9))
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

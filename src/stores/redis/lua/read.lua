-- Reads records, and lends leases on those without a fresh entry.
-- KEYS  the keys
-- ARGV  1 milliseconds of the lease, or empty: none asked
--       2 "1": also where there is a fresh entry
--       3 the token
--       4 "json" or "binary": layout of a lease without an entry
-- Reply the server's time in milliseconds; one letter a key (t lent, b busy, - none), or empty when no lease was
--       asked; then the record of each key as it was (nil: none). When records are large, only of the first keys,
--       and the rest is to be asked for again: the server does nothing else meanwhile.
local ENOUGH = 1048576
local reply, bytes, count, step = {0, ''}, 0, 0, 1
-- Twice as many in each step: the first large ones end it.
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

-- Most reads end here: of no lease, or of fresh entries without leases in front. The rest below costs more.
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

-- @include record

local ends, token = now + tonumber(ARGV[1]), ARGV[3]
local letters, lent = {}, {}

local function lend(key, record)
  local r = parse(record)
  if ARGV[2] ~= '1' and is_fresh(r) then return '-' end
  local busy = lent[key] or is_held(r) and r
  if busy then
    if busy.awaited == 0 then redis.pcall('SETRANGE', key, busy.awaited_at, busy.json and '1' or '\1') end
    busy.awaited = 1
    return 'b'
  end
  -- A key that holds something else than a string. Asked first: after a write, even one that changes nothing,
  -- Redis lets the rest of a script write though there is no memory.
  if not record and redis.call('EXISTS', key) == 1 then redis.call('UNLINK', key) end
  local left = life(r)
  local entry = left > 0 and entry_of(record, r) or nil
  local json = ARGV[4] == 'json'
  if entry then json = r.json end
  local new = leased(token, ends, 0, entry, json)
  -- Without memory there are no leases, and entries are read all the same.
  if put(key, new, math.max(left, ends - now)) then return '-' end
  lent[key] = parse(string.sub(new, 1, HEAD))
  return 't'
end

for i = 1, count do letters[i] = lend(KEYS[i], reply[2 + i]) end
reply[1], reply[2] = now, table.concat(letters)
return reply

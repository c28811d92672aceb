-- Reads records, and lends leases on those without a fresh entry.
-- KEYS  the keys
-- ARGV  1 milliseconds of the lease, or empty: none asked
--       2 "1": also where there is a fresh entry
--       3 the token
--       4 "json" or "binary": layout of a lease without an entry
-- Reply the record of each key as it was (nil: none), then the server's time in milliseconds, then, when a
--       lease was asked, one letter a key: t lent, b busy, - none
local records = redis.call('MGET', unpack(KEYS))
if ARGV[1] == '' then
  local time = redis.call('TIME')
  records[#KEYS + 1] = time[1] * 1000 + math.floor(time[2] / 1000)
  return records
end

-- @include record

local ends, token = now + tonumber(ARGV[1]), ARGV[3]
local letters, lent = {}, {}

local function lend(i, key)
  local record = records[i]
  -- Most reads end here: a fresh entry without a lease in front.
  if record and ARGV[2] ~= '1' and #record >= 14 and string.byte(record, 1) == 1 then
    local stored_at, ttl = struct.unpack('>I6I6', record, 3)
    if ttl == INFINITE or now - stored_at < ttl then return '-' end
  end
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
  if not records[i] and redis.call('EXISTS', key) == 1 then redis.call('UNLINK', key) end
  local left = life(r)
  local entry = left > 0 and entry_of(records[i], r) or nil
  local json = ARGV[4] == 'json'
  if entry then json = r.json end
  local record = leased(token, ends, 0, entry, json)
  -- Without memory there are no leases, and entries are read all the same.
  if put(key, record, math.max(left, ends - now)) then return '-' end
  lent[key] = parse(string.sub(record, 1, HEAD))
  return 't'
end

for i, key in ipairs(KEYS) do letters[i] = lend(i, key) end
records[#KEYS + 1] = now
records[#KEYS + 2] = table.concat(letters)
return records

-- Tells which keys hold a live entry, and how large they are.
-- KEYS  the keys
-- Reply one letter a key (1: a live entry), then the bytes of keys and records with a live entry

-- @include record

local letters, bytes = {}, 0
for i, key in ipairs(KEYS) do
  local lives = life(head(key)) > 0
  letters[i] = lives and '1' or '0'
  if lives then bytes = bytes + #key + redis.call('STRLEN', key) end
end
return {table.concat(letters), bytes}

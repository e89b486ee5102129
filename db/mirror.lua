-- One batch of one output. Nothing is written unless the batch's version is still the output's target.
--
-- KEYS[1]  the output's meta hash      ARGV[1]  what to do          ARGV[3]  lineage, as begin answered
-- KEYS[2]  ... what it is done to      ARGV[2]  the version         ARGV[4]  batches, as the last answer said
--                                      ARGV[5]  ... with what
-- Answers {batches, ...}, or {-1, target} superseded, or {-2} lost.

local CHUNK = 4000 -- Lua's unpack ends at 8,000 values; even, so that a field stays with its value
local STAGED_S = 3600 -- what a dead writer leaves behind goes by itself

local meta, act, version, lineage = KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[3]
local held = redis.call('HMGET', meta, 'target', 'lineage', 'batches', 'version')
local target = tonumber(held[1])

local function call(command, key, first, last)
  for i = first, last, CHUNK do
    redis.call(command, key, unpack(ARGV, i, math.min(i + CHUNK - 1, last)))
  end
end

local function refuse(...)
  if act == 'strings' then
    redis.call('UNLINK', KEYS[2])
  end
  return {...}
end

if target and target > version then
  return refuse(-1, target)
end
if act == 'begin' then
  if not target then
    redis.call('HSET', meta, 'lineage', lineage, 'batches', 0)
    held[2], held[3] = lineage, '0'
  end
  redis.call('HSET', meta, 'target', version)
  return {tonumber(held[3]), held[2], held[4]}
end
if target ~= version or held[2] ~= lineage or tonumber(held[3]) < tonumber(ARGV[4]) then
  return refuse(-2)
end

if act == 'strings' then
  -- KEYS[2] holds all values, SET just before: as arguments they would be copied and hashed twice.
  -- ARGV[5] has their sizes and ARGV[6] their keys, line by line: as KEYS they cost the client most of its time.
  local words, from, i = {}, 0, 0
  for size in string.gmatch(ARGV[5], '%d+') do -- an empty value is not 0 to -1, which would be all of them
    words[i + 2] = size == '0' and '' or redis.call('GETRANGE', KEYS[2], from, from + size - 1)
    from, i = from + size, i + 2
  end
  if redis.call('STRLEN', KEYS[2]) ~= from then
    return refuse(-2)
  end
  i = 1
  for key in string.gmatch(ARGV[6], '[^\n]+') do
    words[i], i = key, i + 2
  end
  redis.call('MSET', unpack(words))
  redis.call('UNLINK', KEYS[2])
elseif act == 'sets' then
  -- KEYS[2] is where a set grows; ARGV holds the size of each set, then its members.
  local at = 5
  for i = 3, #KEYS do
    local size = tonumber(ARGV[at])
    redis.call('UNLINK', KEYS[2])
    call('SADD', KEYS[2], at + 1, at + size)
    redis.call('RENAME', KEYS[2], KEYS[i])
    at = at + size + 1
  end
elseif act == 'fields' then
  local removed = tonumber(ARGV[5])
  call('HDEL', KEYS[2], 6, 5 + removed)
  call('HSET', KEYS[2], 6 + removed, #ARGV)
elseif act == 'copy' then
  redis.call('COPY', KEYS[2], KEYS[3])
elseif act == 'stage' then
  call(ARGV[5], KEYS[2], 6, #ARGV)
  redis.call('EXPIRE', KEYS[2], STAGED_S)
elseif act == 'place' then
  if redis.call('PERSIST', KEYS[2]) == 0 then
    return {-2}
  end
  redis.call('RENAME', KEYS[2], KEYS[3])
elseif act == 'remove' then
  redis.call('UNLINK', unpack(KEYS, 2))
elseif act == 'finish' then
  redis.call('HSET', meta, 'version', version, unpack(ARGV, 5))
end
return {redis.call('HINCRBY', meta, 'batches', 1)}

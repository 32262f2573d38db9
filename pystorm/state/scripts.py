"""The Lua scripts: every write that must check the fence and act in one step. Key types: see `keys`.

A refusal is an error reply whose first word says which: STALE (the fence's value follows, nothing if there is none),
EPOCH (a later or other checkpoint is committed), SUPERSEDED (a newer attempt of the same prepare has begun).

The names of state hashes are built inside MOVE from a prefix, not passed as KEYS: the chunk says which they are, and
all share the hash tag of the keys that are passed.
"""

from __future__ import annotations

_CHECK_FENCE = """
local fence = redis.call('GET', KEYS[1])
if fence ~= ARGV[1] then return redis.error_reply('STALE ' .. (fence or '')) end
"""

#: KEYS topology generation; ARGV expected generation, new generation. Returns 1 if it was raised.
ACQUIRE = """
if (redis.call('GET', KEYS[1]) or '0') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""

#: KEYS scope fence; ARGV generation. Fences only rise.
FENCE = """
local fence = redis.call('GET', KEYS[1])
if fence and tonumber(fence) > tonumber(ARGV[1]) then return redis.error_reply('STALE ' .. fence) end
redis.call('SET', KEYS[1], ARGV[1])
return 1
"""

#: KEYS topology generation, set; ARGV generation, members...
REGISTER = (
    _CHECK_FENCE
    + """
for i = 2, #ARGV do redis.call('SADD', KEYS[2], ARGV[i]) end
return 1
"""
)

#: KEYS topology generation, commit hash, history list; ARGV generation, epoch, record, history length.
#: A repeated commit writes the same record again: WAIT waits for writes of its own connection only.
COMMIT = (
    _CHECK_FENCE
    + """
local last = redis.call('HMGET', KEYS[2], 'generation', 'epoch', 'record')
if last[2] and tonumber(last[2]) >= tonumber(ARGV[2]) then
  if last[1] ~= ARGV[1] or last[2] ~= ARGV[2] then
    return redis.error_reply('EPOCH epoch ' .. last[2] .. ' of generation ' .. last[1])
  end
  redis.call('HSET', KEYS[2], 'record', last[3])
  return 0
end
redis.call('HSET', KEYS[2], 'generation', ARGV[1], 'epoch', ARGV[2], 'record', ARGV[3])
redis.call('LPUSH', KEYS[3], ARGV[3])
redis.call('LTRIM', KEYS[3], 0, ARGV[4] - 1)
return 1
"""
)

#: KEYS scope fence, prepared list; ARGV generation, "generation.epoch.", attempt, "generation.epoch." of the last
#: commit (or ""), 1 if this is the attempt's first call for the scope, packed chunk. Returns 1; 0 when a committed
#: list has to be moved first.
PREPARE = (
    _CHECK_FENCE
    + """
local header = redis.call('LINDEX', KEYS[2], 0)
local wanted = ARGV[2] .. ARGV[3]
if header and ARGV[4] ~= '' and string.sub(header, 1, #ARGV[4]) == ARGV[4] and header ~= wanted then return 0 end
if ARGV[5] == '1' then
  if header then
    if string.sub(header, 1, #ARGV[2]) == ARGV[2] and header > wanted then
      return redis.error_reply('SUPERSEDED ' .. header)
    end
    redis.call('UNLINK', KEYS[2])
  end
  redis.call('RPUSH', KEYS[2], wanted)
elseif header ~= wanted then
  return redis.error_reply('SUPERSEDED ' .. (header or ''))
end
redis.call('RPUSH', KEYS[2], ARGV[6])
return 1
"""
)

#: KEYS scope fence, prepared list; ARGV generation, "generation.epoch." that may be moved, prefix of the state hashes,
#: entries per call, bytes per call, 1 to discard a list of any other epoch. Returns the number of chunks left.
MOVE = (
    _CHECK_FENCE
    + """
local header = redis.call('LINDEX', KEYS[2], 0)
if not header then return 0 end
if string.sub(header, 1, #ARGV[2]) ~= ARGV[2] or ARGV[2] == '' then
  if ARGV[6] == '1' then redis.call('UNLINK', KEYS[2]) end
  return 0
end
local function in_pieces(command, key, items)
  for first = 1, #items, 2000 do
    redis.call(command, key, unpack(items, first, math.min(first + 1999, #items)))
  end
end
local entries, bytes = 0, 0
repeat
  local chunk = redis.call('LINDEX', KEYS[2], 1)
  if not chunk then
    redis.call('UNLINK', KEYS[2])
    return 0
  end
  for _, change in ipairs(cmsgpack.unpack(chunk)) do
    local key = ARGV[3] .. change[1]
    in_pieces('HSET', key, change[2])
    in_pieces('HDEL', key, change[3])
    entries = entries + #change[2] / 2 + #change[3]
  end
  bytes = bytes + #chunk
  redis.call('LPOP', KEYS[2])
  redis.call('LSET', KEYS[2], 0, header)
until entries >= tonumber(ARGV[4]) or bytes >= tonumber(ARGV[5])
return redis.call('LLEN', KEYS[2]) - 1
"""
)

#: KEYS topology generation, snapshot hash, set of epochs; ARGV generation, epoch, field, data
SNAPSHOT = (
    _CHECK_FENCE
    + """
redis.call('SADD', KEYS[3], ARGV[2])
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
return 1
"""
)

#: KEYS topology generation, snapshot hash, set of epochs; ARGV generation, epoch
DROP_SNAPSHOT = (
    _CHECK_FENCE
    + """
redis.call('UNLINK', KEYS[2])
redis.call('SREM', KEYS[3], ARGV[2])
return 1
"""
)

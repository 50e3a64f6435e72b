-- mend: puts right what is wrong with one job, if it still is and nothing has to be guessed.
-- Flags: allow-oom
-- Moves: ready | delayed | suspect | dead -> quarantine; ready -> suspect
-- KEYS: meta jobs state ready delayed suspect dead quarantine ended revoked workers wake then the leases of the queue's workers
-- ARGV: id fault then workers, in the order of their leases
--   fault: as survey says; a job that is in no place goes back in line, by the time at which it was accepted
-- Returns: {'M'} mended, {'N'} that is not wrong (any more), {'X'} it stays as it is, {'W'} a worker is not among those given
-- include clock
-- include text
-- include wake
-- include order
-- include lifecycle
-- include state
-- include quarantine
-- include fields
-- include judge
if #KEYS - FIXED ~= #ARGV - REST then return redis.error_reply('TASKQ_ARGS mend takes a key for each worker') end
if is_blind() then return {'W'} end
local now, id = read_clock(), arg_id
local data, state = redis.call('HGET', key_jobs, id), redis.call('HGET', key_state, id)
local spot = places_of({id})[1]

-- Takes it out of where a worker could claim it, last of all.
local function unplace()
  redis.call('ZREM', key_ready, id)
  redis.call('ZREM', key_delayed, id)
  redis.call('ZREM', key_suspect, id)
end

local function put_in_line()
  local meta, history = redis.call('HMGET', key_meta, 'discipline'), read_state(state)
  local enqueued = header_of(id, data)
  if not enqueued or not history then return quarantine(id, now) end
  local place = tonumber(enqueued) * 1000
  if meta[1] == 'priority' then place = priority_of(data) elseif meta[1] == 'lifo' then place = -place end
  if is_suspect(history) then
    redis.call('ZADD', key_suspect, now, id)
  else
    redis.call('ZADD', key_ready, place, id)
    offer_token()
  end
end

if arg_fault == 'revoked' then
  if data or #spot > 0 or spot.quarantined then return {'N'} end
  return {redis.call('HDEL', key_revoked, id) == 1 and 'M' or 'N'}
end
if fault_of(id, data, state, spot) ~= arg_fault then return {'N'} end
if arg_fault == 'state' then
  redis.call('HDEL', key_state, id)
elseif arg_fault == 'lost' then
  put_in_line()
elseif arg_fault == 'double' then
  -- Who has it, or its end, decides; of two others nobody knows which is right.
  if (spot.leased and 1 or 0) + (spot.ended and 1 or 0) ~= 1 or spot.dead then return {'X'} end
  local leases = 0
  for _, name in ipairs(spot) do leases = leases + (name == 'leased' and 1 or 0) end
  if leases > 1 then return {'X'} end
  unplace()
elseif spot.leased then
  return {'X'} -- a worker has it, and what it says decides
elseif arg_fault == 'apart' then
  redis.call('ZADD', key_suspect, now, id)
  redis.call('ZREM', key_ready, id)
else -- body, envelope, history, bounds, score: as claim does
  if not spot.dead or data then quarantine(id, now) end
  unplace()
  redis.call('ZREM', key_dead, id)
end
return {'M'}

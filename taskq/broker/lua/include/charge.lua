-- Counts against a job that a child died while running it, or that its worker vanished while it ran.
local MAX_CRASHES = 5
local MAX_LOSSES = 10
local MAX_BACKOFF = 60000000 -- us: a suspect is looked at again within a minute

-- Puts the job apart as a suspect, back to its place after a first loss, or ends it. Writes before it drops the lease.
local function charge(id, lease, crashed, now, errors)
  local delivery, score = read_lease(lease)
  local state = read_state(redis.call('HGET', key_state, id)) or read_state(nil)
  if not delivery then
    quarantine(id, now)
    redis.call('HDEL', key_lease, id)
    return
  end
  state[1] = tonumber(delivery)
  if crashed then state[3] = state[3] + 1 else state[4] = state[4] + 1 end
  if errors and errors ~= '' then state[6] = errors end
  write_state(id, state)
  observe(crashed and 'crashed' or 'lost', id, delivery, state[2] + 1, nil, errors)
  if state[3] >= MAX_CRASHES then
    end_job(id, 'crashed')
  elseif state[4] >= MAX_LOSSES then
    end_job(id, 'lost')
  elseif is_suspect(state) then
    local times = math.max(state[3], state[4] - 1)
    local wait = times <= 1 and 0 or math.min(MAX_BACKOFF, 1000000 * 2 ^ (times - 2))
    redis.call('ZADD', key_suspect, now + wait, id)
  else
    redis.call('ZADD', key_ready, score, id)
  end
  redis.call('HDEL', key_lease, id)
end

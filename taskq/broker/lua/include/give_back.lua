-- Puts a leased job back where it came from, uncounted; its delivery number stays used.
local function give_back(id, lease, now)
  local delivery, score, _, suspect = read_lease(lease)
  if redis.call('HEXISTS', key_jobs, id) == 0 then
    redis.call('HDEL', key_state, id)
  elseif not delivery then
    quarantine(id, now)
  else
    local state = read_state(redis.call('HGET', key_state, id)) or read_state(nil)
    state[1] = tonumber(delivery)
    write_state(id, state)
    if suspect then
      redis.call('ZADD', key_suspect, now, id)
    else
      redis.call('ZADD', key_ready, score, id)
    end
  end
  redis.call('HDEL', key_lease, id)
end

-- Settles jobs that succeeded without a result: arg pairs (id, delivery) from index `from`. Returns one letter each.
local function settle_plain(from, count)
  if count == 0 then return '' end
  local ids, letters, done = {}, {}, {}
  for i = 0, count - 1 do ids[i + 1] = ARGV[from + 2 * i] end
  local leases = redis.call('HMGET', key_lease, unpack(ids))
  for i = 1, count do
    local delivery, lease = ARGV[from + 2 * i - 1], leases[i]
    if lease and string.sub(lease, 1, #delivery + 1) == delivery .. ';' then
      done[#done + 1] = ids[i]
      letters[i] = 'A'
    else
      letters[i] = 'S'
    end
  end
  if #done > 0 then
    redis.call('HDEL', key_jobs, unpack(done))
    redis.call('HDEL', key_state, unpack(done))
    redis.call('HDEL', key_lease, unpack(done))
    redis.call('HINCRBY', key_meta, 'done', #done)
  end
  return table.concat(letters)
end

local function forget(id)
  redis.call('HDEL', key_jobs, id)
  redis.call('HDEL', key_state, id)
  redis.call('HDEL', key_lease, id)
end

-- Settles one job with more to say. Returns 'A', or 'S' if this worker does not hold that delivery.
local function settle(id, delivery, verdict, record, ms, errors, result_key, now)
  local lease = held(id, delivery)
  if not lease then return 'S' end
  if verdict == 'c' then
    charge(id, lease, true, now, errors)
    redis.call('HINCRBY', key_meta, 'crashes', 1)
    return 'A'
  end
  if record ~= '' then redis.call('SET', result_key, record, 'PX', ms) end
  if verdict == 'o' or verdict == 'x' then
    forget(id)
    redis.call('HINCRBY', key_meta, verdict == 'o' and 'done' or 'cancelled', 1)
    return 'A'
  end
  local state = read_state(redis.call('HGET', key_state, id)) or read_state(nil)
  state[1], state[2], state[6] = tonumber(delivery), state[2] + 1, errors
  write_state(id, state)
  if verdict == 'r' then
    redis.call('ZADD', key_delayed, now + tonumber(ms) * 1000, id)
  else
    bury(id, now)
  end
  redis.call('HDEL', key_lease, id)
  redis.call('HINCRBY', key_meta, verdict == 'r' and 'retried' or 'failed', 1)
  return 'A'
end

-- Settlements: what a worker says of the jobs it has finished.
local COUNTERS = {o = 'done', x = 'cancelled', f = 'failed', r = 'retried', c = 'crashes'} -- by verdict

-- Notes the end of a job that is about to be forgotten.
local function observe_end(kind, id, delivery)
  local state = read_state(redis.call('HGET', key_state, id)) or read_state(nil)
  observe(kind, id, delivery, state[2] + 1)
end

-- Settles jobs that succeeded without a result: pairs (id, delivery) from index `from`. Returns a letter each.
local function settle_plain(from, count)
  if count == 0 then return '' end
  local ids, letters, done = {}, {}, {}
  for i = 0, count - 1 do ids[i + 1] = ARGV[from + 2 * i] end
  local leases = redis.call('HMGET', key_lease, unpack(ids))
  for i = 1, count do
    local delivery, lease = ARGV[from + 2 * i - 1], leases[i]
    if lease and string.sub(lease, 1, #delivery + 1) == delivery .. ';' then
      done[#done + 1] = ids[i]
      if events then observe_end('succeeded', ids[i], delivery) end
      letters[i] = 'A'
    else
      letters[i] = 'S'
    end
  end
  if #done > 0 then count_up(key_meta, 'done', forget(done)) end
  return table.concat(letters)
end

-- An attempt that failed: again after `ms`, or never. A suspect goes on waiting apart.
local function fail(id, delivery, again, ms, errors, now)
  local state = read_state(redis.call('HGET', key_state, id)) or read_state(nil)
  state[1], state[2], state[6] = tonumber(delivery), state[2] + 1, errors
  write_state(id, state)
  observe(again and 'retried' or 'failed', id, delivery, state[2], again and ms, errors)
  if again then
    local place = is_suspect(state) and key_suspect or key_delayed
    redis.call('ZADD', place, now + ms * 1000, id)
  else
    bury(id, now)
    unrevoke({id})
  end
  redis.call('HDEL', key_lease, id)
end

-- Settles jobs with more to say: sevens from index `from`. Appends 'A', or 'S' if this worker does not hold that delivery.
local function settle_full(from, count, now, announce, letters)
  local ids, gone, tally, seen = {}, {}, {}, {}
  for i = 1, count do ids[i] = ARGV[from + 7 * (i - 1)] end
  local leases = count > 0 and redis.call('HMGET', key_lease, unpack(ids))
  for i, id in ipairs(ids) do
    local at, lease = from + 7 * (i - 1), leases[i]
    local delivery, verdict, record, ms = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], tonumber(ARGV[at + 4])
    local holds = lease and not seen[id] and string.sub(lease, 1, #delivery + 1) == delivery .. ';'
    letters[#letters + 1] = holds and 'A' or 'S'
    if holds then
      seen[id], tally[verdict] = true, (tally[verdict] or 0) + 1
      if record ~= '' and verdict ~= 'r' and verdict ~= 'c' then
        if ms > 0 then redis.call('SET', KEYS[FIXED + i], record, 'PX', ms) end
        announce(id, ARGV[at + 6], record)
      end
      if verdict == 'o' or verdict == 'x' then
        gone[#gone + 1] = id
        if events then observe_end(verdict == 'o' and 'succeeded' or 'cancelled', id, delivery) end
      elseif verdict == 'c' then charge(id, lease, true, now, ARGV[at + 5])
      else fail(id, delivery, verdict == 'r', ms, ARGV[at + 5], now) end
    end
  end
  if #gone > 0 then forget(gone) end
  for verdict, times in pairs(tally) do count_up(key_meta, COUNTERS[verdict], times) end
end

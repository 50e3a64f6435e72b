-- Leases jobs from the head of a sorted set to this worker, bounded in jobs and in bytes.
local LOOK_LIMIT = 1000 -- jobs a run, whatever becomes of them: a queue of expired ones must not stop the server
local FIRST_CHUNK, CHUNK = 16, 100 -- bodies read at a time: few until their size is known

-- What keeps a job from being handed out: nil, or the reason of its end; false if it is damaged.
local function obstacle(id, score, data, state, now)
  local enqueued, flags, expires = header_of(id, data)
  if not enqueued or not state or string.find(score, 'n', 1, true) then return false end -- 'inf' comes only by hand
  if revoked > 0 and redis.call('HEXISTS', key_revoked, id) == 1 then return 'cancelled' end
  if flags == '' or not string.find(flags, 'x', 1, true) then return nil end
  local limit = tonumber(expires)
  if not limit then return false end
  return now / 1000 >= tonumber(enqueued) + limit and 'expired' or nil
end

-- Appends id, state, data of each claimed job to `reply`. Jobs scored later than `until_` stay.
local function claim(source, limit, byte_limit, until_, suspect, now, reply)
  local bytes, claimed, looked, chunk = 0, 0, 0, FIRST_CHUNK
  while claimed < limit and bytes < byte_limit and looked < LOOK_LIMIT do
    local heads = redis.call('ZRANGE', source, 0, math.min(limit - claimed, chunk) - 1, 'WITHSCORES')
    local ids, leases, taken = {}, {}, 0
    for i = 1, #heads, 2 do ids[#ids + 1] = heads[i] end
    if #ids == 0 then break end
    local bodies = redis.call('HMGET', key_jobs, unpack(ids))
    local states = redis.call('HMGET', key_state, unpack(ids))
    for i, id in ipairs(ids) do
      local score, data = heads[2 * i], bodies[i]
      if bytes >= byte_limit or (until_ and tonumber(score) > until_) then break end
      taken = i
      local state = read_state(states[i])
      local reason = obstacle(id, score, data, state, now)
      if reason == false then
        quarantine(id, now)
      elseif reason then
        end_job(id, reason)
      else
        local delivery = digits(state[1] + 1)
        leases[#leases + 1] = id
        leases[#leases + 1] = delivery .. ';' .. score .. ';0;' .. suspect
        reply[#reply + 1] = id
        reply[#reply + 1] = states[i] and string.gsub(states[i], '^%d+', delivery) or '1;0;0;0;0'
        reply[#reply + 1] = data
        claimed, bytes = claimed + 1, bytes + #data
        if events then observe('started', id, delivery, state[2] + 1, nil, nil, data) end
      end
    end
    if #leases > 0 then redis.call('HSET', key_lease, unpack(leases)) end
    if taken > 0 then redis.call('ZREMRANGEBYRANK', source, 0, taken - 1) end
    if taken < #ids then break end
    looked = looked + taken
    if claimed > 0 then chunk = math.max(1, math.min(CHUNK, math.ceil((byte_limit - bytes) * claimed / bytes))) end
  end
  return claimed, bytes
end

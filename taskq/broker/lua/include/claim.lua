-- Leases jobs from the head of a sorted set to this worker, bounded in jobs and in bytes.
local CHUNK = 50 -- bodies read at a time, since their sizes are not known before

-- What keeps a job from being handed out: nil, or the reason of its end; false for a damaged envelope.
local function obstacle(id, data, now, revoked)
  if not string.find(id, '^%w[%w._-]*$') then return false end
  if not data or string.byte(data, 14) ~= 59 or string.sub(data, 15, 16) ~= '1;' then return false end
  if revoked and redis.call('HEXISTS', key_revoked, id) == 1 then return 'cancelled' end
  if string.byte(data, 17) == 59 then return nil end -- no flags
  local enqueued, flags, expires = string.match(data, '^(%d+);1;(%a*);[^;]*;(%d*);')
  if not flags then return false end
  if string.find(flags, 'x', 1, true) and now / 1000 >= tonumber(enqueued) + tonumber(expires) then return 'expired' end
  return nil
end

-- Appends id, state, data of each claimed job to `reply`. Jobs scored later than `until_` stay.
local function claim(source, count, max_bytes, until_, suspect, now, reply)
  local bytes, claimed, revoked = 0, 0, redis.call('EXISTS', key_revoked) == 1
  while claimed < count and bytes < max_bytes do
    local heads = redis.call('ZRANGE', source, 0, math.min(count - claimed, CHUNK) - 1, 'WITHSCORES')
    local ids, leases, taken = {}, {}, 0
    for i = 1, #heads, 2 do ids[#ids + 1] = heads[i] end
    if #ids == 0 then break end
    local bodies = redis.call('HMGET', key_jobs, unpack(ids))
    local states = redis.call('HMGET', key_state, unpack(ids))
    for i, id in ipairs(ids) do
      local score, data = heads[2 * i], bodies[i]
      if bytes >= max_bytes or (until_ and tonumber(score) > until_) then break end
      taken = i
      local reason = obstacle(id, data, now, revoked)
      local state = read_state(states[i])
      if reason == false or not state or -- 'nan' and 'inf' come only by hand
        string.find(score, 'n', 1, true) then
        redis.call('ZADD', key_quarantine, now, id)
        redis.call('HINCRBY', key_meta, 'quarantined', 1)
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
      end
    end
    if #leases > 0 then redis.call('HSET', key_lease, unpack(leases)) end
    if taken > 0 then redis.call('ZREMRANGEBYRANK', source, 0, taken - 1) end
    if taken < #ids then break end
  end
  return claimed, bytes
end

-- Leases of one name, which may differ. Fields of the hash that the clock guard uses: lease, the longest that anybody ever
-- asked for: who looks first after an outage must not judge others by a shorter one; since, when a grace began that
-- nobody's lease outlived, see guard.
local function longest_lease(lease, note_key)
  local longest = whole(redis.call('HGET', note_key, 'lease')) or 0
  if lease <= longest then return longest end
  redis.call('HSET', note_key, 'lease', digits(lease))
  return lease
end

-- The time before which a lease must have ended to be over, nil where none is. Who looks more seldom than three beats
-- begins a grace at each look; a holder without a lease at the start of one had a whole lease to renew it, and is dead.
local function overdue(now, grace, jump, lease, note_key)
  if now >= grace then return now end
  if not jump then return nil end
  local since = whole(redis.call('HGET', note_key, 'since'))
  if jump == 'gap' and since and now < since + lease then return nil end
  redis.call('HSET', note_key, 'since', digits(now))
  return jump == 'gap' and since or nil
end

-- Removes what is left of jobs that have ended, in a script that settles.
local revoked = 0 -- how many revoked jobs there are; the script sets it, so that most runs need not look at them

local function unrevoke(ids)
  if revoked > 0 then revoked = revoked - redis.call('HDEL', key_revoked, unpack(ids)) end
end

-- Removes jobs that have ended. Returns how many there were, each counted once.
local function forget(ids)
  redis.call('HDEL', key_jobs, unpack(ids))
  redis.call('HDEL', key_state, unpack(ids))
  unrevoke(ids)
  return redis.call('HDEL', key_lease, unpack(ids))
end

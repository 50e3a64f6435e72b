-- reap: takes the jobs of a worker whose lease is over; only those marked started are charged.
-- Flags: allow-oom
-- Moves: leased -> ready | suspect | ended
-- KEYS: meta jobs state ready lease workers wake ended suspect
-- ARGV: worker ttl_us beat_us
-- Returns: {jobs moved, jobs left}; {0, -1} if the worker lives or nothing may be reaped yet
-- include clock
-- include text
-- include wake
-- include state
-- include give_back
-- include charge
-- include guard
local now, grace = guarded_clock(tonumber(arg_ttl_us), tonumber(arg_beat_us))
local deadline = redis.call('ZSCORE', key_workers, arg_worker)
if now < grace or not deadline or tonumber(deadline) >= now then return {0, -1} end
local found = redis.call('HSCAN', key_lease, '0', 'COUNT', 100)[2]
local moved = math.min(#found / 2, 100)
for i = 1, 2 * moved, 2 do
  local id, lease = found[i], found[i + 1]
  local delivery, _, started = read_lease(lease)
  if not delivery or redis.call('HEXISTS', key_jobs, id) == 0 then
    redis.call('HDEL', key_lease, id)
  elseif started then
    charge(id, lease, false, now)
    redis.call('HINCRBY', key_meta, 'losses', 1)
  else
    give_back(id, lease, now)
  end
end
if redis.call('HGET', key_meta, 'paused') ~= '1' and redis.call('EXISTS', key_ready) == 1 then set_token() end
local left = redis.call('HLEN', key_lease)
if left == 0 then redis.call('ZREM', key_workers, arg_worker) end
return {moved, left}

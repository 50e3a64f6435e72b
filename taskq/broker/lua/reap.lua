-- reap: takes the jobs of a worker whose lease is over; only those marked started are charged.
-- Flags: allow-oom
-- Moves: leased -> ready | suspect | ended | quarantine
-- KEYS: meta jobs state ready lease workers wake ended suspect quarantine
-- ARGV: worker ttl_us beat_us
-- Returns: {jobs moved, jobs left}; {0, -1} if the worker lives or nothing may be reaped yet
-- include clock
-- include text
-- include wake
-- include lifecycle
-- include state
-- include quarantine
-- include give_back
-- include charge
-- include guard
local ttl, beat = whole(arg_ttl_us), whole(arg_beat_us)
if not ttl or not beat then return redis.error_reply('TASKQ_ARGS reap takes a ttl and a beat') end
local now, grace = guarded_clock(ttl, beat, key_workers, key_meta)
local deadline = redis.call('ZSCORE', key_workers, arg_worker)
if now < grace or not deadline or tonumber(deadline) >= now then return {0, -1} end
begin_telling(redis.pcall('HGET', key_meta, 'watch'), now)
-- Not HSCAN: it may find nothing in the first buckets of a hash that was emptied from there.
local found = redis.call('HRANDFIELD', key_lease, 100, 'WITHVALUES')
for i = 1, #found, 2 do
  local id, lease = found[i], found[i + 1]
  local _, _, started = read_lease(lease)
  if started and redis.call('HEXISTS', key_jobs, id) == 1 then
    charge(id, lease, false, now)
    count_up(key_meta, 'losses', 1)
  else
    give_back(id, lease, now)
  end
end
offer_token()
local left = redis.call('HLEN', key_lease)
if left == 0 then redis.call('ZREM', key_workers, arg_worker) end
tell_watchers(arg_worker)
return {#found / 2, left}

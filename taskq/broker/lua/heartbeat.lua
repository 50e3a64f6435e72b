-- heartbeat: renews a worker's lease, guards against jumps of the clock, and says what waits for a supervisor.
-- Flags: allow-oom
-- Moves: none
-- KEYS: meta workers lease ended outbox revoked
-- ARGV: worker ttl_us beat_us meta_ttl_ms
-- Returns: {now, jobs held, ended, outbox, revoked, then ids of workers whose lease is over}, or {'FENCED'}
-- include clock
-- include text
-- include guard
local ttl, beat = whole(arg_ttl_us), whole(arg_beat_us)
if not ttl or not beat or not whole(arg_meta_ttl_ms) then
  return redis.error_reply('TASKQ_ARGS heartbeat takes a ttl and a beat')
end
if not redis.call('ZSCORE', key_workers, arg_worker) then return {'FENCED'} end
local now, grace = guarded_clock(ttl, beat, key_workers, key_meta)
redis.call('ZADD', key_workers, 'XX', now + ttl, arg_worker)
redis.call('PEXPIRE', key_meta, arg_meta_ttl_ms)
local reply = {digits(now), redis.call('HLEN', key_lease), redis.call('HLEN', key_ended), redis.call('HLEN', key_outbox),
  redis.call('HLEN', key_revoked)}
if now >= grace then
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', key_workers, '-inf', '(' .. digits(now), 'LIMIT', 0, 10)) do
    reply[#reply + 1] = worker
  end
end
return reply

-- heartbeat: renews a worker's lease, guards against jumps of the clock, and says what waits for a supervisor.
-- Flags: allow-oom
-- Moves: none
-- KEYS: meta workers lease ended outbox revoked
-- ARGV: worker ttl_us beat_us meta_ttl_ms
-- Returns: {now, jobs held, ended, outbox, revoked, then ids of workers whose lease is over}, or {'FENCED'}
-- include clock
-- include text
-- include guard
if not redis.call('ZSCORE', key_workers, arg_worker) then return {'FENCED'} end
local now, grace = guarded_clock(tonumber(arg_ttl_us), tonumber(arg_beat_us))
redis.call('ZADD', key_workers, 'XX', now + tonumber(arg_ttl_us), arg_worker)
redis.call('PEXPIRE', key_meta, arg_meta_ttl_ms)
local reply = {digits(now), redis.call('HLEN', key_lease), redis.call('HLEN', key_ended), redis.call('HLEN', key_outbox),
  redis.call('HLEN', key_revoked)}
if now >= grace then
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', key_workers, '-inf', '(' .. digits(now), 'LIMIT', 0, 10)) do
    reply[#reply + 1] = worker
  end
end
return reply

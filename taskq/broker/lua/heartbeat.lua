-- heartbeat: renews a worker's lease, guards against jumps of the clock, samples rates, says what waits for it.
-- Flags: allow-oom
-- Moves: none
-- KEYS: meta workers lease ended outbox revoked
-- ARGV: worker ttl_us beat_us meta_ttl_ms
-- Returns: {now, jobs held, ended, outbox, revoked, then ids of workers whose lease is over}, or {'FENCED'}
-- include clock
-- include text
-- include guard
local SAMPLE_US = 5000000 -- between samples: long enough not to flicker, short enough to follow what happens
local CAME = {'enqueued', 'requeued'}
local LEFT = {'done', 'failed', 'cancelled', 'expired', 'crashed', 'lost', 'purged', 'unknown', 'moved', 'quarantined'}

local function total(counters)
  local sum = 0
  for _, count in ipairs(redis.call('HMGET', key_meta, unpack(counters))) do sum = sum + (whole(count) or 0) end
  return digits(sum)
end

-- Keeps in `sample` the last two of: time, jobs that came, jobs that left. Who looks at the queue makes rates of them.
local function take_sample(now)
  local newest = string.match(redis.call('HGET', key_meta, 'sample') or '', '%d+ %d+ %d+$')
  local taken = newest and whole(string.match(newest, '^%d+'))
  if taken and taken <= now and now < taken + SAMPLE_US then return end
  local sample = table.concat({digits(now), total(CAME), total(LEFT)}, ' ')
  if taken and taken <= now then sample = newest .. ' ' .. sample end -- else the clock was set back, or it is damaged
  redis.call('HSET', key_meta, 'sample', sample)
end

local ttl, beat = whole(arg_ttl_us), whole(arg_beat_us)
if not ttl or not beat or not whole(arg_meta_ttl_ms) then
  return redis.error_reply('TASKQ_ARGS heartbeat takes a ttl and a beat')
end
if not redis.call('ZSCORE', key_workers, arg_worker) then return {'FENCED'} end
local now, grace = guarded_clock(ttl, beat, key_workers, key_meta)
redis.call('ZADD', key_workers, 'XX', now + ttl, arg_worker)
take_sample(now)
redis.call('PEXPIRE', key_meta, arg_meta_ttl_ms)
local reply = {digits(now), redis.call('HLEN', key_lease), redis.call('HLEN', key_ended), redis.call('HLEN', key_outbox),
  redis.call('HLEN', key_revoked)}
if now >= grace then
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', key_workers, '-inf', '(' .. digits(now), 'LIMIT', 0, 10)) do
    reply[#reply + 1] = worker
  end
end
return reply

-- mend_counters: sets the number of jobs that came to a queue to what left it and what is there.
-- Flags: allow-oom
-- Moves: none
-- KEYS: meta jobs dead
-- ARGV: then nothing
-- Returns: {'M'} mended, {'N'} nothing was wrong
-- include text
local left = redis.call('HLEN', key_jobs) - redis.call('ZCARD', key_dead)
for _, name in ipairs({'done', 'failed', 'cancelled', 'expired', 'crashed', 'lost', 'purged', 'unknown', 'moved'}) do
  left = left + (whole(redis.call('HGET', key_meta, name)) or 0)
end
local known = redis.call('HMGET', key_meta, 'enqueued', 'requeued')
local again = math.min(whole(known[2]) or 0, left)
if (whole(known[1]) or 0) + (whole(known[2]) or 0) == left then return {'N'} end
redis.call('HSET', key_meta, 'enqueued', digits(left - again), 'requeued', digits(again))
return {'M'}

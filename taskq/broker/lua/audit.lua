-- audit: reads what a queue's invariants speak of as a whole: lengths, settings, counters and who holds leases.
-- Flags: no-writes
-- Moves: none
-- KEYS: meta jobs ready dead quarantine ended outbox workers wake then leases
-- ARGV: then workers, in the order of the leases
-- Returns: {{tokens, ready, jobs, dead, quarantine, ended, outbox}, {jobs held, deadline or '' per worker}, {meta fields}}
if #KEYS - FIXED ~= #ARGV then return redis.error_reply('TASKQ_ARGS audit takes a key for each worker') end
local held = {}
for i = FIXED + 1, #KEYS do
  held[#held + 1] = redis.call('HLEN', KEYS[i])
  held[#held + 1] = redis.call('ZSCORE', key_workers, ARGV[i - FIXED]) or ''
end
local lengths = {redis.call('LLEN', key_wake), redis.call('ZCARD', key_ready), redis.call('HLEN', key_jobs),
  redis.call('ZCARD', key_dead), redis.call('ZCARD', key_quarantine), redis.call('HLEN', key_ended),
  redis.call('HLEN', key_outbox)}
return {lengths, held, redis.call('HGETALL', key_meta)}

-- register: gives a worker its lease on a queue, under an id that is not in use.
-- Flags: allow-oom
-- Moves: none
-- KEYS: session meta jobs state ready delayed workers wake dead ended outbox suspect quarantine revoked
-- ARGV: seq first worker ttl_us schema
-- Returns: {'OK'}, {'TAKEN'} if the id is registered
-- include clock
-- include text
-- include session
-- include types
local reply, failure = recall()
if failure then return failure end
if reply then return {reply} end
local wrong = wrong_type()
if wrong then return wrong end
local schema, ttl = redis.call('HGET', key_meta, 'schema'), whole(arg_ttl_us)
if schema and (whole(schema) or math.huge) > tonumber(arg_schema) then return redis.error_reply('TASKQ_SCHEMA ' .. schema) end
if not ttl or arg_worker == '' then return redis.error_reply('TASKQ_ARGS register takes a worker and its ttl') end
-- By the guarded time, which may be up to a second ahead of the clock: who reaps goes by it (see include/guard).
local now = math.max(read_clock(), whole(redis.call('HGET', key_meta, 'tick')) or 0)
reply = redis.call('ZADD', key_workers, 'NX', digits(now + ttl), arg_worker) == 1 and 'OK' or 'TAKEN'
remember(reply)
return {reply}

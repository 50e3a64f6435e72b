-- register: gives a worker its lease on a queue, under an id that was never used before.
-- Flags: allow-oom
-- Moves: none
-- KEYS: meta workers
-- ARGV: worker ttl_us schema
-- Returns: {'OK'}, {'TAKEN'} if the id is registered
-- include clock
-- include text
local schema = redis.call('HGET', key_meta, 'schema')
if schema and (tonumber(schema) or math.huge) > tonumber(arg_schema) then return redis.error_reply('TASKQ_SCHEMA ' .. schema) end
local deadline = digits(read_clock() + tonumber(arg_ttl_us))
return {redis.call('ZADD', key_workers, 'NX', deadline, arg_worker) == 1 and 'OK' or 'TAKEN'}

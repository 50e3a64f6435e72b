-- deregister: takes a worker off a queue; what it still holds is left to any reaper at once.
-- Flags: allow-oom
-- Moves: none
-- KEYS: workers lease
-- ARGV: worker
-- Returns: {jobs still held}
local left = redis.call('HLEN', key_lease)
if left == 0 then
  redis.call('ZREM', key_workers, arg_worker)
else
  redis.call('ZADD', key_workers, 'XX', 0, arg_worker)
end
return {left}

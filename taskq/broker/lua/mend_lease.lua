-- mend_lease: enters a worker with jobs that is not entered as one whose lease is over, so that it is reaped.
-- Flags: allow-oom
-- Moves: none
-- KEYS: workers lease
-- ARGV: worker
-- Returns: {'M'} mended, {'N'} nothing was wrong
if redis.call('HLEN', key_lease) == 0 then return {'N'} end
return {redis.call('ZADD', key_workers, 'NX', 0, arg_worker) == 1 and 'M' or 'N'}

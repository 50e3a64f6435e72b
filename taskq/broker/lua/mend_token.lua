-- mend_token: sets the wake token where claimable jobs are there without one, and drops all but one.
-- Flags: allow-oom
-- Moves: none
-- KEYS: meta ready wake
-- ARGV: then nothing
-- Returns: {'M'} mended, {'N'} nothing was wrong
-- include wake
local before = redis.call('LLEN', key_wake)
redis.call('LTRIM', key_wake, 0, 0)
offer_token()
return {redis.call('LLEN', key_wake) == before and 'N' or 'M'}

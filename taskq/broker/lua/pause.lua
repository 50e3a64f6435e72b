-- pause: stops or resumes the claiming of a queue's jobs.
-- Flags: allow-oom
-- Moves: none
-- KEYS: meta ready wake
-- ARGV: paused
-- Returns: {paused}
-- include wake
redis.call('HSET', key_meta, 'paused', arg_paused)
settle_token(arg_paused == '1', false)
return {arg_paused}

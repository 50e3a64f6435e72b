-- leave_line: leaves the line for a permit, unless it was given meanwhile.
-- Flags: allow-oom
-- Moves: none
-- KEYS: fences line
-- ARGV: address
-- Returns: {fence}, '' if it has none; no session, as it may run twice
redis.call('ZREM', key_line, arg_address)
return {redis.call('HGET', key_fences, arg_address) or ''}

-- count_items: tells how a data queue stands.
-- Flags: no-writes
-- Moves: none
-- KEYS: meta items tally claims
-- ARGV: then nothing
-- Returns: {discipline, maxsize, items, claimed, unfinished, shut down}
local meta = redis.call('HMGET', key_meta, 'discipline', 'maxsize')
local tally = redis.call('HMGET', key_tally, 'unfinished', 'shutdown')
return {meta[1] or '', meta[2] or '0', redis.call('ZCARD', key_items), redis.call('ZCARD', key_claims), tally[1] or '0', tally[2] or '0'}

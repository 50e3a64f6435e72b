-- audit_shared: reads what the invariants of locks, barriers, conditions, Events and data queues speak of as a whole.
-- Flags: no-writes
-- Moves: none
-- KEYS: permits holders line barrier arrived waiters waiting tally items claims getters putters joiners
-- ARGV: then nothing
-- Returns: {limit, extra, held, in line, parties, next ticket, arrived, last ticket, waiters, waiting, items, claims, ms
--   that the tally lives, getters, putters, joiners}; numbers of hashes as text, '' where there is none
local permits = redis.call('HMGET', key_permits, 'limit', 'extra')
local barrier = redis.call('HMGET', key_barrier, 'parties', 'next')
return {permits[1] or '', permits[2] or '', redis.call('ZCARD', key_holders), redis.call('ZCARD', key_line),
  barrier[1] or '', barrier[2] or '', redis.call('ZCARD', key_arrived),
  redis.call('ZRANGE', key_arrived, -1, -1, 'WITHSCORES')[2] or '', redis.call('ZCARD', key_waiters),
  redis.call('ZCARD', key_waiting), redis.call('ZCARD', key_items), redis.call('ZCARD', key_claims),
  redis.call('PTTL', key_tally), redis.call('ZCARD', key_getters), redis.call('ZCARD', key_putters),
  redis.call('SCARD', key_joiners)}

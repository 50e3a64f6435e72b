-- wait_room: looks for room in a bounded queue and, where there is none, has the caller told when there is.
-- Flags: none
-- Moves: none
-- KEYS: meta ready delayed putters
-- ARGV: address turn ttl_ms
--   turn: '0' takes a place at the end of the line, another number is the place it had
-- Returns: {'R'} there is room; {'W', turn, us until it should look again}; no session, as it may run twice
-- include text
-- Should one that was told have died before it came: the first look again soon, the others one after another.
local SOON_US, STEP_US, LATE_US = 2000000, 10000, 30000000
if arg_address == '' or not whole(arg_turn) or not whole(arg_ttl_ms) then
  return redis.error_reply('TASKQ_ARGS wait_room was given turn ' .. arg_turn .. ' and ttl ' .. arg_ttl_ms)
end
local maxsize = whole(redis.call('HGET', key_meta, 'maxsize')) or 0
if maxsize == 0 or redis.call('ZCARD', key_ready) + redis.call('ZCARD', key_delayed) < maxsize then
  redis.call('ZREM', key_putters, arg_address)
  return {'R'}
end
local turn = arg_turn
if turn == '0' then -- a call that is repeated, as its reply was lost, keeps the place that it got
  turn = redis.call('ZSCORE', key_putters, arg_address) or digits(count_up(key_meta, 'turn', 1))
end
redis.call('ZADD', key_putters, turn, arg_address)
redis.call('PEXPIRE', key_putters, arg_ttl_ms)
return {'W', turn, digits(math.min(LATE_US, SOON_US + STEP_US * redis.call('ZRANK', key_putters, arg_address)))}

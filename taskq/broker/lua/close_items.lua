-- close_items: shuts a data queue down, drops what waits in it, or opens it again; wakes everybody concerned.
-- Flags: allow-oom
-- Moves: none
-- KEYS: session meta items tally getters putters joiners claims
-- ARGV: seq first channels ttl_ms shutdown drop
--   shutdown: '1' down, '0' open, '' as it is; drop: '1' drops waiting items, and with a shutdown what comes back later
-- Returns: {items dropped}
-- include text
-- include session
-- include line
-- include items
local reply, failure = recall()
if failure then return failure end
if reply then return {reply} end
if not whole(arg_ttl_ms) or not string.find(arg_shutdown, '^[01]?$') then
  return redis.error_reply('TASKQ_ARGS close_items was given shutdown ' .. arg_shutdown .. ' and ttl ' .. arg_ttl_ms)
end
local dropped = arg_drop == '1' and redis.call('ZCARD', key_items) or 0
if dropped > 0 then
  redis.call('UNLINK', key_items)
  finish(math.min(dropped, whole(redis.call('HGET', key_tally, 'unfinished')) or 0))
end
if arg_shutdown ~= '' then redis.call('HSET', key_tally, 'shutdown', arg_shutdown) end
if arg_shutdown == '0' then
  redis.call('HDEL', key_tally, 'immediate')
elseif arg_shutdown == '1' and arg_drop == '1' then
  redis.call('HSET', key_tally, 'immediate', '1')
end
if arg_shutdown == '1' then
  call_up(key_getters, math.huge)
  call_up(key_putters, math.huge)
elseif dropped > 0 then
  offer_room(whole(redis.call('HGET', key_meta, 'maxsize')) or 0, dropped)
end
age()
reply = digits(dropped)
remember(reply)
return {reply}

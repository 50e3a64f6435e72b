-- close_items: shuts a data queue down, drops what waits in it, or opens it again; wakes everybody concerned.
-- Flags: allow-oom
-- Moves: none
-- KEYS: session meta items tally getters putters joiners
-- ARGV: seq first channels shutdown drop
--   shutdown: '1' down, '0' open, '' as it is; drop: '1' drops waiting items
-- Returns: {items dropped}
-- include text
-- include session
-- include line
-- include items
local reply, failure = recall()
if failure then return failure end
if reply then return {reply} end
local dropped = 0
if arg_drop == '1' then
  dropped = redis.call('ZCARD', key_items)
  redis.call('UNLINK', key_items)
  if dropped > 0 then finish(math.min(dropped, whole(redis.call('HGET', key_tally, 'unfinished')) or 0)) end
  if dropped > 0 then offer_room(whole(redis.call('HGET', key_meta, 'maxsize')) or 0, dropped) end
end
if arg_shutdown ~= '' then redis.call('HSET', key_tally, 'shutdown', arg_shutdown == '1' and '1' or '0') end
if arg_shutdown == '1' then
  call_up(key_getters, math.huge)
  call_up(key_putters, math.huge)
end
reply = digits(dropped)
remember(reply)
return {reply}

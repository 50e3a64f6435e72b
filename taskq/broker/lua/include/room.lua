-- Room in a bounded queue of jobs: tells who waits for it, first come, first served. putters: zset, address to turn.
local function open_room(bound)
  local maxsize = whole(bound) or 0
  if maxsize > 0 and redis.call('EXISTS', key_putters) == 1 then
    call_up(key_putters, maxsize - redis.call('ZCARD', key_ready) - redis.call('ZCARD', key_delayed))
  end
end

-- Room in a bounded queue of jobs: tells who waits for it, first come, first served. putters: zset, address to turn.
local function open_room(bound)
  local maxsize = whole(bound) or 0
  -- By type, as a key that somebody changed by hand must not stop a step that has done its work.
  if maxsize > 0 and redis.call('TYPE', key_putters).ok == 'zset' then
    call_up(key_putters, maxsize - redis.call('ZCARD', key_ready) - redis.call('ZCARD', key_delayed))
  end
end

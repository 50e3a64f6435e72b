-- Items of a data queue. items: zset of members, 16 digits of arrival and then the item, by their place; tally: hash of
-- seq, unfinished, shutdown and the clock guard; getters, putters: zsets of who waits, address to turn; claims: zset of
-- deadlines by arrival; claimed: hash, arrival to place and member; joiners: set of addresses.
local BEATS = 5 -- of a claim within its lease
local AHEAD = 2 -- how many in a line look again soon, should one that was told have died before it came
local SOON_US, LATE_US = 2000000, 30000000

-- Puts an address in line; returns its turn and the microseconds after which it should look again.
local function line_up(place, address, turn, soonest)
  if turn == '0' then turn = digits(redis.call('HINCRBY', key_tally, 'turn', 1)) end
  redis.call('ZADD', place, turn, address)
  redis.call('PEXPIRE', place, arg_ttl_ms)
  local again = redis.call('ZRANK', place, address) < AHEAD and SOON_US or LATE_US
  return turn, digits(math.min(again, soonest or again))
end

-- Calls up putters for the room there is, at most `count`.
local function offer_room(maxsize, count)
  if maxsize > 0 and redis.call('EXISTS', key_putters) == 1 then
    call_up(key_putters, math.min(count, maxsize - redis.call('ZCARD', key_items)))
  end
end

-- Counts items as finished; false if there were not as many.
local function finish(count)
  local left = (whole(redis.call('HGET', key_tally, 'unfinished')) or 0) - count
  if left < 0 then return false end
  redis.call('HSET', key_tally, 'unfinished', digits(left))
  if left == 0 then
    for _, address in ipairs(redis.call('SMEMBERS', key_joiners)) do tell(address, '') end
    redis.call('DEL', key_joiners)
  end
  return true
end

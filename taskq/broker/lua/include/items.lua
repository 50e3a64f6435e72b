-- Items of a data queue. items: zset of members, 16 digits of arrival and then the item, by their place; tally: hash of
-- seq, turn, claim, unfinished, shutdown, immediate (what comes back is dropped), and of claims the clock guard, lease and beat; getters, putters: zsets of who
-- waits, address to turn; claims: zset of deadlines by claim; claimed: hash, claim to place and member; joiners: set.
local AHEAD = 2 -- how many in a line look again soon, should one that was told have died before it came
-- The others look one after another: those ahead may have died together.
local SOON_US, STEP_US, LATE_US = 2000000, 10000, 30000000

-- The microseconds after which the head of a line looks again: with claims often enough for the clock guard, see claims.
local function soon(place)
  return math.min(SOON_US, place == key_getters and whole(redis.call('HGET', key_tally, 'beat')) or SOON_US)
end

-- Has those look again soon who came to the head of a line when so many left it: they were told to look late.
local function promote(place, count)
  if count < 1 then return end
  local again
  for _, address in ipairs(redis.call('ZRANGE', place, math.max(0, AHEAD - count), AHEAD - 1)) do
    again = again or digits(soon(place))
    tell(address, again)
  end
end

-- Tells the first of a line, as many as `count`, that they may try again.
local function summon(place, count)
  local length = count > 0 and redis.call('ZCARD', place) or 0
  if length == 0 then return end
  call_up(place, count)
  promote(place, length - redis.call('ZCARD', place))
end

-- Puts an address in line; returns its turn and the microseconds after which it should look again.
local function line_up(place, address, turn, soonest)
  if turn == '0' then turn = digits(redis.call('HINCRBY', key_tally, 'turn', 1)) end
  redis.call('ZADD', place, turn, address)
  redis.call('PEXPIRE', place, arg_ttl_ms)
  local rank = redis.call('ZRANK', place, address)
  if rank >= AHEAD then return turn, digits(math.min(LATE_US, SOON_US + STEP_US * rank)) end
  return turn, digits(math.min(soon(place), soonest or SOON_US))
end

-- Takes an address that was served off its line.
local function step_out(place, address)
  promote(place, redis.call('ZREM', place, address))
end

-- Calls up putters for the room there is, at most `count`.
local function offer_room(maxsize, count)
  if redis.call('EXISTS', key_putters) == 0 then return end
  summon(key_putters, maxsize > 0 and math.min(count, maxsize - redis.call('ZCARD', key_items)) or count)
end

-- Lets the tally go some day once there is no item, nor a claimed one. Whoever puts keeps it: their order would begin anew.
local function age()
  if redis.call('EXISTS', key_items, key_claims) == 0 then redis.call('PEXPIRE', key_tally, arg_ttl_ms) end
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

-- Counts as finished what comes back to a queue that was shut down at once, and is to be dropped; false elsewhere.
local function drop_back(count)
  if redis.call('HGET', key_tally, 'immediate') ~= '1' then return false end
  finish(math.min(count, whole(redis.call('HGET', key_tally, 'unfinished')) or 0))
  return true
end

-- Clock guard: after a step of the clock, an outage or a pause nobody's lease is over for one more ttl.
local BEATS = 5 -- of a holder within its lease; workers say their own
local BACKWARD_US = 1000000 -- a second: what NTP slews is far smaller

-- Returns the guarded time, which never runs backward, the time before which nothing may be reaped, and why that time
-- was set now: 'back' for a clock set back, 'gap' for one set forward, an outage, or simply nobody who looked; else nil.
-- place: a sorted set of deadlines; note_key: the hash that remembers the last reading.
local function guarded_clock(ttl, beat, place, note_key)
  local t = read_clock()
  local meta = redis.call('HMGET', note_key, 'tick', 'grace')
  local tick, grace = whole(meta[1]), whole(meta[2]) or 0
  local now, jump = t, nil
  if tick and t < tick - BACKWARD_US then
    for _, worker in ipairs(redis.call('ZRANGEBYSCORE', place, '(' .. digits(t + ttl), '+inf')) do
      redis.call('ZADD', place, t + ttl, worker)
    end
    grace, jump = t + ttl, 'back'
    count_up(note_key, 'jumps', 1)
  elseif not tick or t > tick + 3 * beat then
    grace, jump = t + ttl, 'gap'
  else
    now = math.max(t, tick)
  end
  redis.call('HSET', note_key, 'tick', digits(now), 'grace', digits(grace))
  return now, grace, jump
end

-- Parties of a barrier: who has arrived, who must stay alive, and which generations broke.
-- barrier: hash of parties, by, born, next, actor, broken, tick, grace, lease and since (see lease); arrived: zset, address
-- to ticket; deadlines: zset of leases; failed: zset of generations. Ticket n is place n % parties of generation n / parties.
local FAILED_KEPT = 1000 -- generations; who looks again later than that would take a broken one for a released one

local function next_ticket()
  return whole(redis.call('HGET', key_barrier, 'next')) or 0
end

-- The generation that the first who waits belongs to, else the next to arrive.
local function present(parties)
  local first = redis.call('ZRANGE', key_arrived, 0, 0, 'WITHSCORES')[2]
  return math.floor((tonumber(first) or next_ticket()) / parties)
end

local function is_full(generation, parties)
  return next_ticket() >= (generation + 1) * parties
end

local function members(generation, parties)
  return redis.call('ZRANGE', key_arrived, digits(generation * parties),
    '(' .. digits((generation + 1) * parties), 'BYSCORE')
end

local function dismiss(addresses, news)
  for _, address in ipairs(addresses) do
    redis.call('ZREM', key_arrived, address)
    redis.call('ZREM', key_deadlines, address)
    tell(address, news)
  end
end

-- Has one party of a full generation look, who then acts or opens.
local function nudge(generation, parties)
  if not is_full(generation, parties) then return end
  for _, address in ipairs(members(generation, parties)) do
    if tell(address, 'L') then return end
  end
end

-- Releases a full generation. Those that came beyond it are the next one, which may be full as well.
local function open(generation, parties)
  redis.call('HDEL', key_barrier, 'actor')
  dismiss(members(generation, parties), 'R')
  nudge(present(parties), parties)
end

-- Ends the waits of a generation and of all after it, and lets nobody in until a reset.
local function break_from(generation, parties)
  local beyond = math.ceil(next_ticket() / parties)
  dismiss(redis.call('ZRANGE', key_arrived, digits(generation * parties), '+inf', 'BYSCORE'), 'B')
  for broken = generation, beyond - 1 do redis.call('ZADD', key_failed, digits(broken), digits(broken)) end
  redis.call('ZREMRANGEBYRANK', key_failed, 0, -FAILED_KEPT - 1)
  redis.call('HSET', key_barrier, 'next', digits(beyond * parties), 'broken', '1')
  local actor = redis.call('HGET', key_barrier, 'actor')
  if actor and not redis.call('ZSCORE', key_arrived, actor) then redis.call('HDEL', key_barrier, 'actor') end
end

-- How a wait ended: 'R' released, 'B' broken, or nil while it goes on.
local function verdict(address, ticket, parties)
  if redis.call('ZSCORE', key_arrived, address) then return nil end
  local generation, now = math.floor(ticket / parties), present(parties)
  if redis.call('ZSCORE', key_failed, digits(generation)) then return 'B' end
  if generation < now then return 'R' end
  break_from(now, parties) -- the server came back without the last it was told: who waits here is not known
  return 'B'
end

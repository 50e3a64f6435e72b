-- enter_barrier: arrives at a barrier, or looks again how a wait stands.
-- Flags: none
-- Moves: none
-- KEYS: session barrier arrived deadlines failed
-- ARGV: seq first channels address parties born ticket acts lease_us ttl_ms who
--   born, ticket: from the first answer, '' when arriving; acts '1': this party can run the action
-- Returns: {'W', ticket, born} waits; {'A', ticket, born} is to act, then open_barrier; {'R', ticket, born} released;
--   {'B', '', ''} broken; {'X', parties, by} in use with another number
-- include clock
-- include text
-- include session
-- include guard
-- include lease
-- include line
-- include barrier
-- include parties
local reply, failure = recall()
if failure then return failure end
if reply then return {string.match(reply, '^(%a);([^;]*);(.*)$')} end
local parties, lease, ticket = whole(arg_parties), whole(arg_lease_us), whole(arg_ticket)
if not parties or parties == 0 or not lease or lease == 0 or not whole(arg_ttl_ms) or (arg_ticket ~= '' and not ticket) then
  return redis.error_reply('TASKQ_ARGS enter_barrier was given parties ' .. arg_parties .. ', ticket ' .. arg_ticket)
end
local known = redis.call('HMGET', key_barrier, 'parties', 'by', 'born')
if known[1] and known[1] ~= arg_parties then return {'X', known[1], known[2] or ''} end
if ticket and known[3] ~= arg_born then return {'B', '', ''} end -- the server has lost what it knew
local longest = longest_lease(lease, key_barrier)
local now, grace, jump = guarded_clock(longest, lease / BEATS, key_deadlines, key_barrier)
local born = known[3] or digits(now)
if not known[1] then redis.call('HSET', key_barrier, 'parties', arg_parties, 'by', arg_who, 'born', born) end
lapse(now, grace, jump, longest, parties)
local ended
if ticket then
  ended = verdict(arg_address, ticket, parties)
  if not ended then redis.call('ZADD', key_deadlines, 'XX', digits(now + lease), arg_address) end
elseif redis.call('HEXISTS', key_barrier, 'broken') == 1 then
  ended = 'B'
else
  ticket = redis.call('HINCRBY', key_barrier, 'next', 1) - 1
  redis.call('ZADD', key_arrived, digits(ticket), arg_address)
  redis.call('ZADD', key_deadlines, digits(now + lease), arg_address)
end
local letter = ended or 'W'
local generation = math.floor((ticket or 0) / parties)
if not ended and generation == present(parties) and is_full(generation, parties) then
  local actor = redis.call('HGET', key_barrier, 'actor')
  if actor == arg_address then
    letter = 'A'
  elseif not actor and is_in_doubt(generation, now, parties) then
    letter = 'W' -- it does not open for a dead one; keep_barrier has somebody look when all have renewed their leases
  elseif not actor and arg_acts == '1' then
    for _, address in ipairs(members(generation, parties)) do redis.call('ZREM', key_deadlines, address) end
    redis.call('HSET', key_barrier, 'actor', arg_address) -- from here on only its death matters
    redis.call('ZADD', key_deadlines, digits(now + lease), arg_address)
    letter = 'A'
  elseif not actor then
    redis.call('ZREM', key_arrived, arg_address)
    redis.call('ZREM', key_deadlines, arg_address)
    open(generation, parties)
    letter = 'R'
  end
end
for _, key in ipairs({key_barrier, key_arrived, key_deadlines, key_failed}) do redis.call('PEXPIRE', key, arg_ttl_ms) end
reply = letter == 'B' and {'B', '', ''} or {letter, digits(ticket), born}
remember(table.concat(reply, ';'))
return reply

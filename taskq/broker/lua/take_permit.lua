-- take_permit: takes a permit of a lock or semaphore, or stands in line for one.
-- Flags: none
-- Moves: none
-- KEYS: session permits holders fences line
-- ARGV: seq first channels address limit turn lease_us ttl_ms who
--   turn: '' does not wait, '0' takes a place at the end of the line, another number is the place it had
-- Returns: {'G', fence} given; {'W', turn, us until it should look again}; {'N'} not given; {'X', limit, by} declared otherwise
-- include clock
-- include text
-- include session
-- include guard
-- include lease
-- include line
-- include permits
local WATCHERS = 4 -- at the head of the line, so that it moves on when some of them die together with the holder
local MARGIN_US = 1000 -- so that who looks again after a deadline is not a moment early
local reply, failure = recall()
if failure then return failure end
if reply then return {string.match(reply, '^(%a);?([^;]*);?(.*)$')} end
local limit, lease = whole(arg_limit), whole(arg_lease_us)
if not limit or not lease or lease == 0 or (arg_turn ~= '' and not whole(arg_turn)) or not whole(arg_ttl_ms) then
  return redis.error_reply('TASKQ_ARGS take_permit was given limit ' .. arg_limit .. ', turn ' .. arg_turn)
end
local known = redis.call('HMGET', key_permits, 'limit', 'by')
if not known[1] then
  redis.call('HSET', key_permits, 'limit', arg_limit, 'by', arg_who)
elseif known[1] ~= arg_limit then
  return {'X', known[1], known[2] or ''}
end
local longest = longest_lease(lease, key_permits)
local now, grace, jump = guarded_clock(longest, lease / BEATS, key_holders, key_permits)
lapse(now, grace, jump, longest)
if arg_turn ~= '' and arg_turn ~= '0' and redis.call('HEXISTS', key_fences, arg_address) == 0 then
  redis.call('ZADD', key_line, arg_turn, arg_address) -- back at its old place
end
hand_over(now, longest)
local fence = redis.call('HGET', key_fences, arg_address)
if not fence and free_permits() > 0 then fence = give(arg_address, now, lease) end
if fence then
  redis.call('ZREM', key_line, arg_address)
  reply = {'G', fence, ''}
elseif arg_turn == '' then
  reply = {'N', '', ''}
else
  local turn = arg_turn
  if turn == '0' then
    turn = digits(redis.call('HINCRBY', key_permits, 'turn', 1))
    redis.call('ZADD', key_line, turn, arg_address)
  end
  -- The first in line watches over the holders, the next ones over the first, and the others over those.
  -- One that was passed over this very moment, as its process listens to nothing, looks when it does again.
  local again, rank = lease, redis.call('ZRANK', key_line, arg_address) or WATCHERS
  if rank > 0 and rank < WATCHERS then
    again = 2 * lease / BEATS -- before three beats without a look, which would seem to be an outage
  elseif rank == 0 then
    local first = tonumber(redis.call('ZRANGE', key_holders, 0, 0, 'WITHSCORES')[2])
    again = math.min(lease / BEATS, first and math.max(0, first - now, grace - now) or lease)
  end
  reply = {'W', turn, digits(again + MARGIN_US)}
end
for _, key in ipairs({key_permits, key_holders, key_fences, key_line}) do redis.call('PEXPIRE', key, arg_ttl_ms) end
remember(table.concat(reply, ';'))
return reply

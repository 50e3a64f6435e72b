-- break_barrier: ends all waits at a barrier, which stays broken or begins anew.
-- Flags: none
-- Moves: none
-- KEYS: session barrier arrived deadlines failed
-- ARGV: seq first channels parties anew ttl_ms who
--   anew: '1' for a reset, '0' for an abort
-- Returns: {'B', '', ''}; {'X', parties, by} in use with another number
-- include clock
-- include text
-- include session
-- include line
-- include barrier
local reply, failure = recall()
if failure then return failure end
if reply then return {'B', '', ''} end
local parties = whole(arg_parties)
if not parties or parties == 0 or not whole(arg_ttl_ms) or (arg_anew ~= '1' and arg_anew ~= '0') then
  return redis.error_reply('TASKQ_ARGS break_barrier was given parties ' .. arg_parties .. ' and anew ' .. arg_anew)
end
local known = redis.call('HMGET', key_barrier, 'parties', 'by')
if known[1] and known[1] ~= arg_parties then return {'X', known[1], known[2] or ''} end
if not known[1] then
  redis.call('HSET', key_barrier, 'parties', arg_parties, 'by', arg_who, 'born', digits(read_clock()))
end
break_from(present(parties), parties)
if arg_anew == '1' then redis.call('HDEL', key_barrier, 'broken') end
for _, key in ipairs({key_barrier, key_arrived, key_deadlines, key_failed}) do redis.call('PEXPIRE', key, arg_ttl_ms) end
remember('B')
return {'B', '', ''}

-- declare: fixes a queue's discipline and content at its first use, and its bound at each.
-- Flags: none
-- Moves: none
-- KEYS: meta jobs state ready delayed workers wake dead ended outbox suspect quarantine revoked
-- ARGV: schema discipline maxsize who ttl_ms content
--   discipline '' takes the queue as it is, or makes a FIFO one; maxsize '' leaves the bound as it is;
--   content: jobs or items, or '' for who only looks
-- Returns: {discipline, maxsize, declared by, content}, as they are after the call
-- include clock
-- include text
-- include types
local DISCIPLINES = {[''] = 'fifo', fifo = 'fifo', lifo = 'lifo', priority = 'priority'}
if not DISCIPLINES[arg_discipline] or (arg_maxsize ~= '' and not whole(arg_maxsize)) or not whole(arg_ttl_ms)
  or (arg_content ~= '' and arg_content ~= 'jobs' and arg_content ~= 'items') then
  return redis.error_reply('TASKQ_ARGS declare was given discipline ' .. arg_discipline .. ' and bound ' .. arg_maxsize)
end
local wrong = wrong_type()
if wrong then return wrong end
local known = redis.call('HMGET', key_meta, 'discipline', 'maxsize', 'by', 'schema', 'content')
if known[4] and (whole(known[4]) or math.huge) > tonumber(arg_schema) then
  return redis.error_reply('TASKQ_SCHEMA ' .. known[4])
end
if not known[1] then
  known = {DISCIPLINES[arg_discipline], arg_maxsize == '' and '0' or arg_maxsize, arg_who, nil, known[5]}
  redis.call('HSET', key_meta, 'discipline', known[1], 'maxsize', known[2], 'by', known[3], 'schema', arg_schema)
  redis.call('HSETNX', key_meta, 'since', digits(read_clock()))
elseif arg_maxsize ~= '' and arg_maxsize ~= known[2] and (arg_discipline == '' or arg_discipline == known[1]) then
  redis.call('HSET', key_meta, 'maxsize', arg_maxsize)
  known[2] = arg_maxsize
end
local content = known[5]
if not content and arg_content ~= '' then
  content = redis.call('EXISTS', key_jobs) == 1 and 'jobs' or arg_content
  redis.call('HSET', key_meta, 'content', content)
end
redis.call('PEXPIRE', key_meta, arg_ttl_ms)
return {known[1], known[2] or '0', known[3] or '', content or ''}

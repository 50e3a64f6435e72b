-- mend_pair: makes two keys agree on a member again, if they still do not.
-- Flags: allow-oom
-- Moves: none
-- KEYS: first second
-- ARGV: member wanted act
--   wanted: as of compare; act: 'drop' takes it from the first, 'lapse' adds it to the second as a lease that is over
-- Returns: {'M'} mended, {'N'} nothing was wrong
-- include member
if arg_act ~= 'drop' and arg_act ~= 'lapse' then return redis.error_reply('TASKQ_ARGS mend_pair does not ' .. arg_act) end
if not has(key_first, arg_member) or has(key_second, arg_member) == (arg_wanted == '1') then return {'N'} end
if arg_act == 'lapse' then
  redis.call('ZADD', key_second, 0, arg_member)
  local ms = redis.call('PTTL', key_first)
  if ms > 0 then redis.call('PEXPIRE', key_second, ms, 'NX') end
elseif redis.call('TYPE', key_first).ok == 'hash' then
  redis.call('HDEL', key_first, arg_member)
else
  redis.call('ZREM', key_first, arg_member)
end
return {'M'}

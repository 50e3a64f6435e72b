-- Refuses a queue with a key of a type that taskq never writes there: later scripts would stop halfway at it.
local function wrong_type()
  for kind, found in pairs({
    hash = {key_meta, key_jobs, key_state, key_ended, key_outbox, key_revoked},
    zset = {key_ready, key_delayed, key_suspect, key_dead, key_quarantine, key_workers},
    list = {key_wake},
  }) do
    for _, key in ipairs(found) do
      local type_ = redis.call('TYPE', key).ok
      if type_ ~= 'none' and type_ ~= kind then
        return redis.error_reply('WRONGTYPE ' .. key .. ' is a ' .. type_ .. ', not a ' .. kind)
      end
    end
  end
  return nil
end

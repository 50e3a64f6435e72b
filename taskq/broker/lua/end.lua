-- end: finishes jobs that ended inside a script: result, publish, follow-ups; removes them from `ended` alone.
-- Flags: allow-oom
-- Moves: ended -> done | dead
-- KEYS: meta jobs state ended dead outbox revoked then a result key per job
-- ARGV: queue channels jobs then
--   sevens (id reason record ttl_ms reply dead errors), then threes (job index, field, message)
-- Returns: {letters}, one a job: A finished, S it was finished before
-- include clock
-- include text
-- include state
-- include publish
-- include lifecycle
-- include bury
local COUNTED = {crashed = true, lost = true, cancelled = true, expired = true, purged = true, unknown = true, moved = true}
-- Of the others who made them end has told, as crashed or lost.
local KINDS = {cancelled = 'cancelled', purged = 'cancelled', moved = 'cancelled', expired = 'expired', unknown = 'failed'}
local count, letters, now = whole(arg_jobs), {}, read_clock()
local after = REST + 7 * (count or 0)
if not count or #KEYS ~= FIXED + count or #ARGV < after or (#ARGV - after) % 3 ~= 0 then
  return redis.error_reply('TASKQ_ARGS end was given ' .. #ARGV .. ' values that do not fit')
end
for i = 1, count do
  if not whole(ARGV[REST + 7 * i - 3]) then return redis.error_reply('TASKQ_ARGS a time-to-live is no number') end
end
begin_telling(redis.pcall('HGET', key_meta, 'watch'), now)
local follow_ups = {}
for k = after + 1, #ARGV, 3 do
  local list = follow_ups[ARGV[k]] or {}
  follow_ups[ARGV[k]] = list
  list[#list + 1], list[#list + 2] = ARGV[k + 1], ARGV[k + 2]
end
local announce, flush = announcer(arg_channels, arg_queue)
for i = 1, count do
  local id, reason, record, ttl, reply, dead, errors = unpack(ARGV, REST + 7 * i - 6, REST + 7 * i)
  letters[i] = redis.call('HGET', key_ended, id) == reason and 'A' or 'S'
  if letters[i] == 'A' then
    if follow_ups[tostring(i)] then call_chunked('HSET', key_outbox, follow_ups[tostring(i)], 2000) end
    if record ~= '' then
      if tonumber(ttl) > 0 then redis.call('SET', KEYS[FIXED + i], record, 'PX', ttl) end
      announce(id, reply, record)
    end
    local word = string.match(reason, '^%a*') -- that of a move goes on
    local kind = KINDS[word]
    if kind then observe(kind, id, nil, nil, nil, errors) end
    if dead == '1' and redis.call('HEXISTS', key_jobs, id) == 1 then
      local state = read_state(redis.call('HGET', key_state, id)) or read_state(nil)
      if errors ~= '' then state[6] = errors end
      write_state(id, state)
      bury(id, now)
    else
      redis.call('HDEL', key_jobs, id)
      redis.call('HDEL', key_state, id)
    end
    if COUNTED[word] then count_up(key_meta, word, 1) end
    redis.call('HDEL', key_revoked, id)
    redis.call('HDEL', key_ended, id)
  end
end
flush()
tell_watchers('')
return {table.concat(letters)}

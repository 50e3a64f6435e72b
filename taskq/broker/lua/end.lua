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
-- include bury
local count, letters, now = tonumber(arg_jobs), {}, read_clock()
local announce, flush = announcer(arg_channels, arg_queue)
local after = REST + 7 * count
for i = 1, count do
  local at = REST + 7 * (i - 1)
  local id, reason, record = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  letters[i] = redis.call('HGET', key_ended, id) == reason and 'A' or 'S'
  if letters[i] == 'A' then
    for k = after + 1, #ARGV, 3 do
      if tonumber(ARGV[k]) == i then redis.call('HSET', key_outbox, ARGV[k + 1], ARGV[k + 2]) end
    end
    if record ~= '' then
      redis.call('SET', KEYS[FIXED + i], record, 'PX', ARGV[at + 4])
      announce(id, ARGV[at + 5], record)
    end
    if ARGV[at + 6] == '1' then
      local state = read_state(redis.call('HGET', key_state, id)) or read_state(nil)
      state[6] = ARGV[at + 7]
      write_state(id, state)
      bury(id, now)
    else
      redis.call('HDEL', key_jobs, id)
      redis.call('HDEL', key_state, id)
    end
    redis.call('HINCRBY', key_meta, reason, 1)
    redis.call('HDEL', key_revoked, id)
    redis.call('HDEL', key_ended, id)
  end
end
flush()
return {table.concat(letters)}

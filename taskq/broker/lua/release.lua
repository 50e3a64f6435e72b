-- release: gives claimed jobs back uncounted, to their exact place or, deferred, after a delay.
-- Flags: allow-oom
-- Moves: leased -> ready | suspect | delayed | ended | quarantine
-- KEYS: meta jobs state ready delayed lease wake ended suspect quarantine
-- ARGV: then per job: id delivery defer_ms
--   defer_ms > 0: the task is unknown here, and after MAX_DEFERS the job ends; or its envelope is newer, and it never does
-- Returns: {letters}, one a job: A given back, S not held
-- include clock
-- include text
-- include wake
-- include lifecycle
-- include state
-- include quarantine
-- include give_back
local MAX_DEFERS = 20 -- with 1 s doubling to 60 s: a deploy of a quarter of an hour
local SLOWEST = 6 -- the delay grows no more: newer envelopes are counted so far, which leaves newer workers most of the bound
for i = REST + 1, #ARGV, 3 do
  if not whole(ARGV[i + 1]) or not whole(ARGV[i + 2]) then
    return redis.error_reply('TASKQ_ARGS job ' .. ARGV[i] .. ' is malformed')
  end
end
local now, letters, deferred = read_clock(), {}, false
begin_telling(redis.pcall('HGET', key_meta, 'watch'), now)
for i = REST + 1, #ARGV, 3 do
  local id, delivery, defer = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local lease = held(id, delivery)
  letters[#letters + 1] = lease and 'A' or 'S'
  if lease and defer == 0 then
    give_back(id, lease, now)
  elseif lease then
    local state = read_state(redis.call('HGET', key_state, id)) or read_state(nil)
    state[1], state[5] = tonumber(delivery), state[5] + 1
    if state[5] > SLOWEST and newer(redis.call('HGET', key_jobs, id)) then state[5] = SLOWEST end
    write_state(id, state)
    if state[5] > MAX_DEFERS then
      end_job(id, 'unknown')
    else
      local place = is_suspect(state) and key_suspect or key_delayed
      redis.call('ZADD', place, now + defer * 1000, id)
      deferred = true
    end
    redis.call('HDEL', key_lease, id)
  end
end
if deferred then set_token() end -- the earliest due time may have changed
offer_token()
tell_watchers('')
return {table.concat(letters)}

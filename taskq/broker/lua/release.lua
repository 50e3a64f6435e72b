-- release: gives claimed jobs back uncounted, to their exact place or, deferred, after a delay.
-- Flags: allow-oom
-- Moves: leased -> ready | suspect | delayed | ended
-- KEYS: meta state ready delayed lease wake ended suspect
-- ARGV: then per job: id delivery defer_ms
--   defer_ms > 0: the task is unknown here; after MAX_DEFERS the job ends
-- Returns: {letters}, one a job: A given back, S not held
-- include clock
-- include text
-- include wake
-- include state
-- include give_back
local MAX_DEFERS = 20 -- with 1 s doubling to 60 s: a deploy of a quarter of an hour
local now, letters = read_clock(), {}
for i = REST + 1, #ARGV, 3 do
  local id, delivery, defer = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local lease = held(id, delivery)
  if not lease then
    letters[#letters + 1] = 'S'
  else
    letters[#letters + 1] = 'A'
    if defer == 0 then
      give_back(id, lease, now)
    else
      local state = read_state(redis.call('HGET', key_state, id)) or read_state(nil)
      state[1], state[5] = tonumber(delivery), state[5] + 1
      write_state(id, state)
      if state[5] > MAX_DEFERS then
        end_job(id, 'unknown')
      else
        redis.call('ZADD', key_delayed, now + defer * 1000, id)
      end
      redis.call('HDEL', key_lease, id)
    end
  end
end
if redis.call('HGET', key_meta, 'paused') ~= '1' and redis.call('EXISTS', key_ready) == 1 then set_token() end
return {table.concat(letters)}

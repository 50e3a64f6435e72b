-- A job's history: delivery;attempts;crashes;losses;defers, then a line feed and the encoded last errors. Before the
-- line feed comes ;lives where it was put back in line after it had failed for good: how often.
local MAX_STATE = 1048576 -- bytes: three errors, capped as model/outcome.py caps them, are a quarter of it
local MAX_COUNT = 1e15 -- of anything that happened to a job; a number that every reader can add one to

local function read_state(text)
  if not text then return {0, 0, 0, 0, 0, '', 0} end
  if #text > MAX_STATE then return nil end
  local d, a, c, l, f, lives, errors = string.match(text, '^(%d+);(%d+);(%d+);(%d+);(%d+);?(%d*)\n?(.*)$')
  lives = tonumber(lives) or 0
  if not d or math.max(d, a, c, l, f, lives) > MAX_COUNT then return nil end
  return {tonumber(d), tonumber(a), tonumber(c), tonumber(l), tonumber(f), errors, lives}
end

local function write_state(id, s)
  local line = digits(s[1]) .. ';' .. digits(s[2]) .. ';' .. digits(s[3]) .. ';' .. digits(s[4]) .. ';' .. digits(s[5])
  if s[7] > 0 then line = line .. ';' .. digits(s[7]) end
  redis.call('HSET', key_state, id, s[6] == '' and line or line .. '\n' .. s[6])
end

-- Whether a job waits apart, since it may harm the neighbours with which it runs.
local function is_suspect(s)
  return s[3] > 0 or s[4] > 1
end

-- A lease: delivery;score;started;suspect. The score is the place to which the job goes back. Nil if it is damaged.
local function read_lease(text)
  local delivery, score, started, suspect = string.match(text, '^(%d+);([^;]+);([01]);([01])$')
  local place = tonumber(score)
  if not place or place - place ~= 0 then return nil end
  return delivery, score, started == '1', suspect == '1'
end

-- The lease of `id` if this worker holds it as that delivery.
local function held(id, delivery)
  local lease = redis.call('HGET', key_lease, id)
  if lease and string.sub(lease, 1, #delivery + 1) == delivery .. ';' then return lease end
  return nil
end

-- Ends a job inside a script; a supervisor makes its result and follow-ups afterwards (script end).
local function end_job(id, reason)
  redis.call('HSET', key_ended, id, reason)
end

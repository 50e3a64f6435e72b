-- Tells who watches a queue what becomes of its jobs: one message a run, and nothing while nobody watches.
-- Field `watch` of meta, kept fresh by who watches: until when (us of this clock), the channel, the queue's name.
local MAX_WATCH = 60000000 -- us ahead: a clock that was set back must not keep a watch for ever
local MAX_EVENTS = 1000 -- a run; those beyond are counted
local MAX_ERRORS = 65536 -- bytes of one job's errors: cut ones could not be read, so that larger ones stay out
local ALL_ERRORS = 1000000 -- bytes a run: beyond them events come without
local BODY = 204 -- bytes of a body: it begins with the task's name, of 200 characters at most
local events, left_out, error_bytes, watch_channel, watch_heading = nil, 0, 0, nil, nil

-- Looks whether anybody watches; a watch that is over, or that somebody changed by hand, is removed.
local function begin_telling(watch, now)
  if type(watch) ~= 'string' then return end -- there is none; or an error, of a key of a wrong type
  local until_, channel, queue = string.match(watch, '^(%d+) (%S+) (%S+)$')
  local left = (whole(until_) or 0) - now
  if left <= 0 or left > MAX_WATCH then
    redis.call('HDEL', key_meta, 'watch')
  else
    events, watch_channel, watch_heading = {}, channel, 'J ' .. queue .. ' ' .. digits(now) .. ' '
  end
end

-- Notes what became of a job. ms: until it may start (again); data: as stored or sent, read here where nil.
local function observe(kind, id, delivery, attempt, ms, errors, data)
  if not events then return end
  if #events >= MAX_EVENTS then
    left_out = left_out + 1
    return
  end
  data, errors = data or redis.call('HGET', key_jobs, id) or '', errors or ''
  local at = (string.find(data, '\n', 1, true) or 0) + 1
  local body = newer(data) and '' or string.sub(data, at, at + BODY - 1)
  if #errors > MAX_ERRORS or error_bytes + #errors > ALL_ERRORS then errors = '' end
  error_bytes = error_bytes + #errors
  events[#events + 1] = table.concat({kind, delivery or 0, attempt or 0, ms or 0, #id, #body, #errors}, ' ')
    .. '\n' .. id .. body .. errors
end

-- The last thing that a script does: what is told has happened.
local function tell_watchers(worker)
  if not events or #events == 0 then return end
  -- A right to the channel may be missing: that must not undo what the script did.
  redis.pcall('PUBLISH', watch_channel, watch_heading .. left_out .. ' ' .. worker .. '\n' .. table.concat(events))
end

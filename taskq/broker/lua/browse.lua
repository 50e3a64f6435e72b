-- browse: reads a page of the jobs in one place, or of jobs by id: how each begins, its size and its history.
-- Flags: no-writes
-- Moves: none
-- KEYS: jobs state ready delayed suspect dead quarantine
-- ARGV: place start count newest bytes then ids
--   place: one of ready delayed suspect dead quarantine, or '' for the ids that follow; newest: '1' from the other end;
--   bytes: how much of each job is returned
-- Returns: {now, how far it looked, then per job id score size state data}; what is gone from `jobs` has the size -1
-- include clock
-- include text
local MAX_JOBS = 500 -- a call: a millisecond of the server's time
local ENOUGH = 500000 -- bytes of jobs and histories after which no more are read
local AT_ONCE = 10 -- jobs between two looks at that bound
local places = {ready = key_ready, delayed = key_delayed, suspect = key_suspect, dead = key_dead, quarantine = key_quarantine}
local start, count, bytes = whole(arg_start), whole(arg_count), whole(arg_bytes)
if not start or not count or not bytes or (arg_place ~= '' and not places[arg_place]) then
  return redis.error_reply('TASKQ_ARGS browse takes a place, a start, a count and a number of bytes')
end
count = math.min(count, MAX_JOBS)
local ids, scores = {}, {}
if arg_place ~= '' and count > 0 then
  local command, source = arg_newest == '1' and 'ZREVRANGE' or 'ZRANGE', places[arg_place]
  local found = redis.call(command, source, start, start + count - 1, 'WITHSCORES')
  for i = 1, #found, 2 do
    ids[#ids + 1], scores[#scores + 1] = found[i], found[i + 1]
  end
elseif arg_place == '' then
  for i = REST + 1, math.min(#ARGV, REST + count) do ids[#ids + 1] = ARGV[i] end
end
local reply, copied, looked = {digits(read_clock()), 0}, 0, 0
while looked < #ids and copied <= ENOUGH do
  local last = math.min(looked + AT_ONCE, #ids)
  local bodies = redis.call('HMGET', key_jobs, unpack(ids, looked + 1, last))
  local states = redis.call('HMGET', key_state, unpack(ids, looked + 1, last))
  for i = looked + 1, last do
    local data, state, at = bodies[i - looked], states[i - looked] or '', #reply
    reply[at + 1], reply[at + 2], reply[at + 3], reply[at + 4] = ids[i], scores[i] or '', data and #data or -1, state
    reply[at + 5] = data and string.sub(data, 1, bytes) or ''
    copied = copied + (data and #data or 0) + #state
  end
  looked = last
end
reply[2] = looked
return reply

-- step: settles finished jobs, promotes due ones and claims new ones, in one atomic run.
-- Flags: allow-oom
-- Moves: leased -> done | delayed | dead | suspect | ended; delayed -> ready; ready | suspect -> leased | ended | quarantine
-- KEYS: session meta jobs state ready delayed lease workers wake dead ended outbox suspect quarantine revoked then a result key per full settlement
-- ARGV: seq first queue worker channels count max_bytes suspects plain full started follow then
--   plain pairs (id delivery); full sevens (id delivery verdict record ms errors reply); started ids; follow threes (full index, field, message)
-- Returns: {numbers, letters, then id state data per claimed job}; numbers: now, next due, suspects due, paused, ended, outbox, revoked, ready; or {'FENCED'}
-- include clock
-- include text
-- include session
-- include wake
-- include order
-- include state
-- include charge
-- include publish
-- include bury
-- include settle
-- include promote
-- include claim
local stored, failure = recall()
if failure then return failure end
if stored then
  local numbers, letters, ids = string.match(stored, '^([^|]*)|([^|]*)|(.*)$')
  local reply = {numbers, letters}
  for id in string.gmatch(ids, '[^ ]+') do
    local lease, data = redis.call('HGET', key_lease, id), redis.call('HGET', key_jobs, id)
    if lease and data then
      local state = redis.call('HGET', key_state, id) or '0;0;0;0;0'
      reply[#reply + 1] = id
      reply[#reply + 1] = (string.gsub(state, '^%d+', (read_lease(lease))))
      reply[#reply + 1] = data
    end
  end
  return reply
end
local plain, full, started, follow = tonumber(arg_plain), tonumber(arg_full), tonumber(arg_started), tonumber(arg_follow)
if REST + 2 * plain + 7 * full + started + 3 * follow ~= #ARGV then
  return redis.error_reply('TASKQ_ARGS step was given ' .. #ARGV .. ' values')
end
if not redis.call('ZSCORE', key_workers, arg_worker) then return {'FENCED'} end
local now = read_clock()
local meta = redis.call('HMGET', key_meta, 'discipline', 'seq', 'paused')
local letters = {settle_plain(REST + 1, plain)}
local announce, flush = announcer(arg_channels, arg_queue)
local at = REST + 2 * plain + 1
for i = 1, full do
  local id, record = ARGV[at], ARGV[at + 3]
  local letter = settle(id, ARGV[at + 1], ARGV[at + 2], record, ARGV[at + 4], ARGV[at + 5], KEYS[FIXED + i], now)
  letters[#letters + 1] = letter
  if letter == 'A' and record ~= '' then announce(id, ARGV[at + 6], record) end
  at = at + 7
end
for i = at, at + started - 1 do
  local lease = redis.call('HGET', key_lease, ARGV[i])
  if lease then redis.call('HSET', key_lease, ARGV[i], (string.gsub(lease, ';0;(%d)$', ';1;%1'))) end
end
at = at + started
letters = table.concat(letters)
for i = at, #ARGV, 3 do
  if string.sub(letters, plain + ARGV[i], plain + ARGV[i]) == 'A' then redis.call('HSET', key_outbox, ARGV[i + 1], ARGV[i + 2]) end
end
flush()
local more_due = promote(meta[1], meta[2], now)
local claims, paused = {}, meta[3] == '1'
if not paused then
  local _, bytes = claim(key_suspect, tonumber(arg_suspects), tonumber(arg_max_bytes), now, '1', now, claims)
  claim(key_ready, tonumber(arg_count), tonumber(arg_max_bytes) - bytes, nil, '0', now, claims)
end
settle_token(paused, more_due)
local next_due = redis.call('ZRANGE', key_delayed, 0, 0, 'WITHSCORES')[2] or 0
local suspect_due = redis.call('ZRANGE', key_suspect, 0, 0, 'WITHSCORES')[2] or 0
local numbers = table.concat({digits(now), digits(next_due), digits(suspect_due), paused and 1 or 0, redis.call('HLEN', key_ended),
  redis.call('HLEN', key_outbox), redis.call('HLEN', key_revoked), redis.call('ZCARD', key_ready)}, ' ')
local ids = {}
for i = 1, #claims, 3 do ids[#ids + 1] = claims[i] end
remember(numbers .. '|' .. letters .. '|' .. table.concat(ids, ' '))
return {numbers, letters, unpack(claims)}

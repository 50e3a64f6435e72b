-- step: settles finished jobs, promotes due ones and claims new ones, in one atomic run.
-- Flags: allow-oom
-- Moves: leased -> done | delayed | dead | suspect | ended; delayed -> ready; ready | suspect -> leased | ended | quarantine
-- KEYS: session meta jobs state ready delayed lease workers wake dead ended outbox suspect quarantine revoked putters then a result key per full settlement
-- ARGV: seq first queue worker channels count max_bytes suspects plain full started follow then
--   plain pairs (id delivery); full sevens (id delivery verdict record ms errors reply); started ids; follow threes (full index, field, message)
-- Returns: {numbers, letters, then id state data per claimed job}; numbers: now, next due, suspects due, paused, ended, outbox, revoked, ready, suspects claimed (they come first); or {'FENCED'}
-- include clock
-- include text
-- include session
-- include wake
-- include order
-- include lifecycle
-- include state
-- include quarantine
-- include replay
-- include charge
-- include publish
-- include bury
-- include forget
-- include settle
-- include promote
-- include claim
-- include line
-- include room
-- include step_arguments
local stored, failure = recall()
if failure then return failure end
if stored then return rebuild(stored) end
if not arguments_fit() then return redis.error_reply('TASKQ_ARGS step was given ' .. #ARGV .. ' values that do not fit') end
if not redis.call('ZSCORE', key_workers, arg_worker) then return {'FENCED'} end
local now = read_clock()
local meta = redis.call('HMGET', key_meta, 'discipline', 'seq', 'paused', 'maxsize', 'watch')
begin_telling(meta[5], now)
local announce, flush = announcer(arg_channels, arg_queue)
revoked = redis.call('HLEN', key_revoked)
local letters = {settle_plain(REST + 1, plain)}
settle_full(REST + 2 * plain + 1, full, now, announce, letters)
letters = table.concat(letters)
local at = REST + 2 * plain + 7 * full + 1
for i = at, at + started - 1 do
  local lease = redis.call('HGET', key_lease, ARGV[i])
  if lease then redis.call('HSET', key_lease, ARGV[i], (string.gsub(lease, ';0;(%d)$', ';1;%1'))) end
end
for i = at + started, #ARGV, 3 do
  if string.byte(letters, plain + ARGV[i]) == 65 then redis.call('HSET', key_outbox, ARGV[i + 1], ARGV[i + 2]) end
end
flush()
local more_due = promote(meta[1], meta[2], now)
local claims, paused, apart, bytes = {}, meta[3] == '1', 0, 0
if not paused then
  apart, bytes = claim(key_suspect, suspects, max_bytes, now, '1', now, claims)
  claim(key_ready, count, max_bytes - bytes, nil, '0', now, claims)
end
settle_token(paused, more_due)
open_room(meta[4])
local numbers = table.concat({digits(now), first_due(key_delayed), first_due(key_suspect), paused and 1 or 0,
  redis.call('HLEN', key_ended), redis.call('HLEN', key_outbox), revoked, redis.call('ZCARD', key_ready)}, ' ')
local ids = {}
for i = 1, #claims, 3 do ids[#ids + 1] = claims[i] end
remember(numbers .. '|' .. letters .. '|' .. table.concat(ids, ' '))
tell_watchers(arg_worker)
return {numbers .. ' ' .. apart, letters, unpack(claims)}

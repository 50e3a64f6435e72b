-- reconcile: compares what a worker holds with what is leased to it; a lost claim comes back this way.
-- Flags: allow-oom
-- Moves: leased -> ready | suspect | quarantine
-- KEYS: session meta jobs state ready lease workers wake suspect quarantine
-- ARGV: seq first worker then ids the worker holds
-- Returns: {jobs given back, then held ids that are not leased}, or {'FENCED'}
-- include clock
-- include text
-- include session
-- include wake
-- include lifecycle
-- include state
-- include quarantine
-- include give_back
local stored, failure = recall()
if failure then return failure end
local holds, reply, back = {}, {0}, 0
if stored then
  for word in string.gmatch(stored, '[^ ]+') do reply[#reply + 1] = word end
  table.remove(reply, 1)
  reply[1] = tonumber(reply[1])
  return reply
end
if not redis.call('ZSCORE', key_workers, arg_worker) then return {'FENCED'} end
for i = REST + 1, #ARGV do
  holds[ARGV[i]] = true
  if redis.call('HEXISTS', key_lease, ARGV[i]) == 0 then reply[#reply + 1] = ARGV[i] end
end
local now = read_clock()
begin_telling(redis.pcall('HGET', key_meta, 'watch'), now)
local leases = redis.call('HGETALL', key_lease)
for i = 1, #leases, 2 do
  if not holds[leases[i]] then
    give_back(leases[i], leases[i + 1], now)
    back = back + 1
  end
end
if back > 0 then offer_token() end
reply[1] = back
remember(table.concat(reply, ' '))
tell_watchers(arg_worker)
return reply

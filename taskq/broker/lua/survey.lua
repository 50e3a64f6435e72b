-- survey: judges a page of the ids that one of a queue's keys names, each in all of its places at one moment.
-- Flags: no-writes
-- Moves: none
-- KEYS: jobs state ready delayed suspect dead quarantine ended revoked workers then the leases of the queue's workers
-- ARGV: source cursor count then workers, in the order of their leases
--   source: jobs state ready delayed suspect dead revoked, or l:<worker>; cursor: '0' begins and ends
-- Returns: {cursor, ids looked at, bytes read, then id, fault, places per fault}; {'W'} if a worker is not among those given
-- include text
-- include state
-- include quarantine
-- include fields
-- include judge
local MOST = 500 -- ids a call, a millisecond or two of the server's time
local HASHES = {jobs = key_jobs, state = key_state, revoked = key_revoked}
local SETS = {ready = key_ready, delayed = key_delayed, suspect = key_suspect, dead = key_dead}
for i = FIXED + 1, #KEYS do HASHES['l:' .. ARGV[REST + i - FIXED]] = KEYS[i] end
local count, source = whole(arg_count), HASHES[arg_source] or SETS[arg_source]
if not count or count == 0 or not whole(arg_cursor) or not source or #KEYS - FIXED ~= #ARGV - REST then
  return redis.error_reply('TASKQ_ARGS survey was given source ' .. arg_source .. ' and count ' .. arg_count)
end
if is_blind() then return {'W'} end
local page = redis.call(HASHES[arg_source] and 'HSCAN' or 'ZSCAN', source, arg_cursor, 'COUNT', math.min(count, MOST))
local reply, bytes, found = {page[1], #page[2] / 2, 0}, 0, page[2]

-- Judges what is on the page from one index to another.
local function judge(from, to)
  local ids, bodies = {}, {}
  for i = from, to, 2 do
    ids[#ids + 1] = found[i]
    if arg_source == 'jobs' then
      bodies[#ids] = found[i + 1]
    else -- that it is there is enough: whether it is in order is seen among the jobs
      bodies[#ids] = redis.call('HEXISTS', key_jobs, found[i]) == 1
    end
    bytes = bytes + #found[i] + #found[i + 1]
  end
  local spots, states = places_of(ids), arg_source ~= 'revoked' and fields_of(key_state, ids, index_of(ids)) or {}
  for i, id in ipairs(ids) do
    local spot, word = spots[i], nil
    if arg_source == 'jobs' or not bodies[i] then word = fault_of(id, bodies[i], states[i], spot) end
    if arg_source == 'revoked' then word = not bodies[i] and #spot == 0 and not spot.quarantined and 'revoked' or nil end
    if word then
      reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = id, word, table.concat(spot, ' ')
    end
  end
end

for from = 1, #found, 2 * MOST do judge(from, math.min(from + 2 * MOST - 1, #found)) end
reply[3] = bytes
return reply

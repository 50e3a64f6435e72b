-- What is wrong with a job, looked at in all of its places at one moment. Reads only; leases are the keys after the
-- declared ones, and their workers the arguments after the declared ones.
local MOST_CRASHES, MOST_LOSSES, MOST_DEFERS = 5, 10, 21 -- as charge and release leave them at most

-- Whether a worker has a lease that is not among those looked at: what it holds would seem to be lost.
local function is_blind()
  local given = {}
  for i = REST + 1, #ARGV do given[ARGV[i]] = true end
  for _, worker in ipairs(redis.call('ZRANGE', key_workers, 0, -1)) do
    if not given[worker] then return true end
  end
  return false
end

-- Where each id is: a list of names, by name its score, reason or lease, and `holder`, the key of its lease.
local function places_of(ids)
  local found, index = {}, index_of(ids)
  for i, id in ipairs(ids) do found[i] = found[index[id]] or {} end
  local function note(name, values, holder)
    for i, value in pairs(values) do
      local spot = found[i]
      if value and index[ids[i]] == i then
        spot[#spot + 1], spot[name] = name, value
        spot.holder = holder or spot.holder
      end
    end
  end
  note('ready', redis.call('ZMSCORE', key_ready, unpack(ids)))
  note('delayed', redis.call('ZMSCORE', key_delayed, unpack(ids)))
  note('suspect', redis.call('ZMSCORE', key_suspect, unpack(ids)))
  note('dead', redis.call('ZMSCORE', key_dead, unpack(ids)))
  note('ended', fields_of(key_ended, ids, index))
  for i = FIXED + 1, #KEYS do note('leased', fields_of(KEYS[i], ids, index), KEYS[i]) end
  local damaged = redis.call('ZMSCORE', key_quarantine, unpack(ids))
  for i = 1, #ids do found[i].quarantined = damaged[i] and true end
  return found
end

local function is_endless(score)
  return score and string.find(score, 'n', 1, true) ~= nil -- inf and nan
end

local function fault_of_state(text, spot)
  local state = read_state(text)
  if not state then return 'history' end
  if state[3] > MOST_CRASHES or state[4] > MOST_LOSSES or state[5] > MOST_DEFERS then return 'bounds' end
  if spot.ready and is_suspect(state) then return 'apart' end
  if not spot.leased then return nil end
  local delivery = read_lease(spot.leased)
  if not delivery then return 'lease' end
  return tonumber(delivery) <= state[1] and 'delivery' or nil
end

-- Returns nil, or the word for what is wrong. data: header and body, state: the history, both false where missing.
local function fault_of(id, data, state, spot)
  if #spot > 1 then return 'double' end
  if not data then
    if #spot == 1 then return not spot.ended and 'body' or nil end -- an ending copes with that
    return state and not spot.quarantined and 'state' or nil
  end
  if #spot == 0 then return not spot.quarantined and 'lost' or nil end
  if spot.ended then return nil end
  if not header_of(id, data) then return 'envelope' end
  if is_endless(spot.ready) or is_endless(spot.delayed) or is_endless(spot.suspect) then return 'score' end
  return fault_of_state(state, spot)
end

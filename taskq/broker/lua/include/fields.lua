-- Reads what a page of ids has in hashes, each of which may be large or have a handful of them.

-- The values of some fields by their index. A hash of few fields is read whole: of 500 ids a lease has a handful, and to
-- look for each in each lease, or in a hash that is stored as a list, would take the server tens of milliseconds.
local function fields_of(key, ids, index)
  if redis.call('HLEN', key) > #ids then return redis.call('HMGET', key, unpack(ids)) end
  local values, flat = {}, redis.call('HGETALL', key)
  for i = 1, #flat, 2 do
    if index[flat[i]] then values[index[flat[i]]] = flat[i + 1] end
  end
  return values
end

-- The first place of each id in the list, in which one may come twice, as SCAN may bring it.
local function index_of(ids)
  local index = {}
  for i = #ids, 1, -1 do index[ids[i]] = i end
  return index
end

-- Members of keys that are sorted sets or hashes.
local function has(key, member)
  local kind = redis.call('TYPE', key).ok
  if kind == 'hash' then return redis.call('HEXISTS', key, member) == 1 end
  return kind == 'zset' and redis.call('ZSCORE', key, member) ~= false
end

-- Answers a repeated step: what was claimed then and is still leased to this worker, with its data read again.
local function rebuild(stored)
  local numbers, letters, ids = string.match(stored, '^([^|]*)|([^|]*)|(.*)$')
  local reply, apart = {'', letters}, 0
  for id in string.gmatch(ids, '[^ ]+') do
    local delivery, _, _, suspect = read_lease(redis.call('HGET', key_lease, id) or '')
    local data = redis.call('HGET', key_jobs, id)
    if delivery and data then
      local state = redis.call('HGET', key_state, id) or '0;0;0;0;0'
      reply[#reply + 1] = id
      reply[#reply + 1] = (string.gsub(state, '^%d+', delivery))
      reply[#reply + 1] = data
      if suspect then apart = apart + 1 end
    end
  end
  reply[1] = numbers .. ' ' .. apart
  return reply
end

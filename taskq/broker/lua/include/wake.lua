-- One token says that claimable work is there or that the earliest due time changed; blocked workers wait for it.
local function set_token()
  if redis.call('LLEN', key_wake) == 0 then redis.call('RPUSH', key_wake, '1') end
end

-- After a step the token is there exactly while unpaused ready or due jobs are.
local function settle_token(paused, more_due)
  if not paused and (more_due or redis.call('EXISTS', key_ready) == 1) then
    set_token()
  else
    redis.call('DEL', key_wake)
  end
end

-- Sets the token if claimable jobs are there.
local function offer_token()
  if redis.call('EXISTS', key_ready) == 1 and redis.call('HGET', key_meta, 'paused') ~= '1' then set_token() end
end

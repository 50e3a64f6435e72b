-- One token says that claimable work is there or that the earliest due time changed; blocked workers wait for it.
local function set_token()
  if redis.call('EXISTS', key_wake) == 0 then redis.call('RPUSH', key_wake, '1') end
end

-- The token is there exactly while unpaused ready jobs are.
local function settle_token(paused, more_due)
  if not paused and (more_due or redis.call('EXISTS', key_ready) == 1) then
    set_token()
  else
    redis.call('DEL', key_wake)
  end
end

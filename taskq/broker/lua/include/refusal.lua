-- Whether a queue takes no new jobs, as the server may evict them. Written by workers, which look at the server's settings.
-- Field `refusal` of meta: when one looked (ms of this clock), ms between its looks, since when it is so (ms), and why.
local LOOKS = 3 -- a refusal is dead after so many without another: no worker looks any more
local MAX_EVERY = 43200000 -- ms; twelve beats of an hour, the longest one

-- Returns since when, in ms, and why, both as text; nil where there is no refusal, a dead one, or one changed by hand.
local function refusal_of(field, now)
  local looked, every, since, why = string.match(field or '', '^(%d+) (%d+) (%d+) (%C+)$')
  looked, every = whole(looked), whole(every)
  if not looked or not every or every > MAX_EVERY or (whole(since) or math.huge) > looked then return nil end
  if math.abs(now / 1000 - looked) > LOOKS * every then return nil end -- ahead of the clock: that was set back
  return since, why
end

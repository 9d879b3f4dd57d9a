-- One call of one credential, for every instance, by this server's clock.
--
-- The key is a hash: `tat`, when the pace is even again (microseconds; generic cell rate algorithm);
-- `day` and `count`, the calls of that day; `ban`, until when the upstream takes none (milliseconds). All
-- numbers are whole and below 2^53, where a Lua number is exact. What is no number is not ours and counts
-- as nothing.
--
-- ARGV: interval between calls in microseconds (0: no pace), burst, longest wait, how many calls of the
-- burst to leave, day, calls a day (0: any), how many of them to leave, calls of the day that the instance
-- knows to be counted, those that it made without asking, those that were counted and not made, how long the
-- upstream told it to wait (milliseconds), and whether a call is wanted.
-- Answers: what was decided (0: nothing was wanted, 1: the call may be made, 2: its turn comes too late,
-- 3: nothing is left of the day, 4: banned), the wait in microseconds, the calls counted, the ban left.
local AHEAD = 60000000
local LONGEST_BAN = 86400000
local KEPT = '172800000'

local key, arg = KEYS[1], {}
for i, word in ipairs(ARGV) do arg[i] = tonumber(word) end
local interval, burst, longest, spare, day, limit = arg[1], arg[2], arg[3], arg[4], arg[5], arg[6]
local left, used, unreported, returned, ban_for, wanted = arg[7], arg[8], arg[9], arg[10], arg[11], arg[12]
if redis.replicate_commands then redis.replicate_commands() end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now_ms = math.floor(now / 1000)

local found = redis.pcall('HMGET', key, 'tat', 'day', 'count', 'ban')
if found.err then
  redis.call('DEL', key)
  found = {}
end
local function number(index) return tonumber(found[index] or 0) or 0 end
local tat, known, count, ban = number(1), number(2), number(3), number(4)

-- The instance whose clock is behind is counted under the day of the others.
if day > known then known, count = day, 0 end
if day == known then count = math.max(count, used) end
count = math.max(0, count + unreported - returned)
-- No upstream says so: somebody else does, or a clock that was put back.
if ban > now_ms + LONGEST_BAN then ban = 0 end
if ban_for > 0 then ban = math.max(ban, now_ms + ban_for) end

local tolerance = interval * math.max(burst - 1, 0)
-- A moment further ahead than this comes from a clock that was put back.
tat = math.min(math.max(tat, now), now + tolerance + AHEAD)
local wait = math.max(0, tat + math.min(spare * interval, tolerance) - tolerance - now)
local decided = 0
if wanted == 1 then
  if ban > now_ms then decided = 4
  elseif limit > 0 and count + left >= limit then decided = 3
  elseif wait > longest then decided = 2
  else
    decided, count, tat = 1, count + 1, tat + interval
  end
end
redis.call('HSET', key, 'tat', string.format('%.0f', tat), 'day', string.format('%.0f', known),
  'count', string.format('%.0f', count), 'ban', string.format('%.0f', ban))
redis.call('PEXPIRE', key, KEPT)
return {decided, wait, count, math.max(0, ban - now_ms)}

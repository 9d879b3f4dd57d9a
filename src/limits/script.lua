-- One decision over one client's bucket and window, by this server's clock, for every instance.
--
-- Both are asked first and only when both agree are both charged. The key is a list, oldest first;
-- an element says "slot sum full rest": requests counted until its slot is over, in all since the
-- list began, and the bucket then (see token_bucket: the microsecond at which it is full again, and
-- `tokens`-ths of one). The first element has left the window and is what the sums begin from. So
-- what is in the window is the difference of two sums, and a decision reads a handful of elements
-- however large the limit. Slots are rounded up: nothing leaves early. All numbers are whole and
-- below 2^53, where a Lua number is exact.
--
-- ARGV: limit of the window (0: none), tokens of the bucket (0: none), their period, burst, unit of a
-- slot. Times are microseconds.
local WINDOW = 60000000
-- A slot further ahead than this comes from a clock that was put back.
local AHEAD = 3000000

local key, arg = KEYS[1], {}
for i, word in ipairs(ARGV) do arg[i] = tonumber(word) end
local limit, tokens, period, burst, unit = arg[1], arg[2], arg[3], arg[4], arg[5]
-- Before Redis 5 a script that reads the clock has to say that its effects are to be copied.
if redis.replicate_commands then redis.replicate_commands() end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local capacity = burst * period

local function text(e)
  return string.format('%.0f %.0f %.0f %.0f', e.slot, e.sum, e.full, e.rest)
end

-- What holds something else is not ours and is overwritten.
local function at(index)
  local found = redis.pcall('LINDEX', key, index)
  if not found then return nil end
  if type(found) == 'string' then
    local slot, sum, full, rest = string.match(found, '^(%d+) (%d+) (%d+) (%d+)$')
    if slot then
      return {slot = tonumber(slot), sum = tonumber(sum), full = tonumber(full), rest = tonumber(rest)}
    end
  end
  redis.call('DEL', key)
  return nil
end

local last = at(-1)
local first = last and at(0)
if not first then
  first = {slot = 0, sum = 0, full = 0, rest = 0}
  last = first
end

-- Forgets what has left the window.
local changed = false
while true do
  local second = at(1)
  if not second or second.slot + WINDOW > now then break end
  redis.call('LPOP', key)
  first, changed = second, true
end

local used = last.sum - first.sum
local rounded = (math.floor(now / unit) + 1) * unit
-- What the bucket lacks now, in tokens-ths of a microsecond.
local debt = 0
if tokens > 0 then
  debt = math.max(0, (last.full - now) * tokens + math.min(last.rest, tokens - 1))
  debt = math.min(capacity, debt)
end

-- What was used counts as used now when the clock was put back.
local anew = first == last
if last.slot > now + AHEAD then
  first = {slot = 0, sum = 0, full = 0, rest = 0}
  last = {slot = rounded, sum = used, full = 0, rest = 0}
  anew = true
end

-- Asks both.
local wait_minute, wait_burst = 0, 0
local excess = used + 1 - limit
if limit > 0 and excess > 0 then
  local found = last
  if not anew then
    local low, high = 1, redis.call('LLEN', key) - 1
    while low < high do
      local middle = math.floor((low + high) / 2)
      local e = at(middle)
      if e and e.sum - first.sum < excess then low = middle + 1 else high = middle end
    end
    found = at(low) or last
  end
  wait_minute = math.max(1, found.slot + WINDOW - now)
end
if tokens > 0 and debt + period > capacity then
  wait_burst = math.ceil((debt + period - capacity) / tokens)
end
local admitted = wait_minute == 0 and wait_burst == 0

-- Charges both, or writes down what the clock that was put back made of them.
if admitted or (anew and last ~= first) then
  if admitted then
    debt = debt + period
    if limit > 0 then used = used + 1 end
  end
  local slot = limit > 0 and math.max(last.slot, rounded) or last.slot
  local whole = tokens > 0 and math.floor(debt / tokens) or 0
  local counted = {slot = slot, sum = first.sum + used, full = now + whole, rest = debt - whole * tokens}
  local done
  if anew then
    done = redis.pcall('RPUSH', key, text(first), text(counted))
    -- Only once there is room for the new one: without memory what was used is not forgotten.
    if type(done) == 'number' and done > 2 then redis.call('LTRIM', key, -2, -1) end
  elseif last.slot == slot then
    done = redis.pcall('LSET', key, -1, text(counted))
  else
    done = redis.pcall('RPUSH', key, text(counted))
  end
  if type(done) == 'table' and done.err then return done end
  last, changed = counted, true
end

local minute_reset = used > 0 and math.max(0, last.slot + WINDOW - now) or 0
local burst_left, burst_reset = 0, 0
if tokens > 0 then
  burst_left = math.floor((capacity - debt) / period)
  burst_reset = math.ceil(debt / tokens)
end
if changed then
  local life = math.ceil(math.max(minute_reset, burst_reset) / 1000) + 1000
  redis.call('PEXPIRE', key, string.format('%.0f', life))
end
return {admitted and 1 or 0, wait_minute, wait_burst, math.max(0, limit - used), minute_reset,
  burst_left, burst_reset}

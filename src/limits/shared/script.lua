-- One decision over one client's bucket and window, by this server's clock, for every instance.
--
-- Both are asked first and only when both agree are both charged. The key is a list, oldest first;
-- an element says "stamp sum full rest": requests counted until its stamp is over, in all since the
-- list began, and the bucket then (see token_bucket: the microsecond at which it is full again, and
-- `tokens`-ths of one). The first element has left the window and is what the sums begin from. So
-- what is in the window is the difference of two sums, and a decision reads a handful of elements
-- however large the limit. Stamps are rounded up: nothing leaves early. All numbers are whole and
-- below 2^53, where a Lua number is exact.
--
-- ARGV: cost, limit of the window (0: none), tokens of the bucket (0: none), their period, burst,
-- unit of a stamp, permits wanted on top, how long those are valid, number of pairs given back;
-- pairs stamp and count of what is given back; pairs age and count that were admitted without asking.
-- Times are microseconds.
local WINDOW = 60000000
-- A stamp further ahead than this comes from a clock that was put back.
local AHEAD = 3000000

local key, arg = KEYS[1], {}
for i, word in ipairs(ARGV) do arg[i] = tonumber(word) end
local cost, limit, tokens, period, burst = arg[1], arg[2], arg[3], arg[4], arg[5]
local unit, want, validity, returns = arg[6], arg[7], arg[8], arg[9]
-- Before Redis 5 a script that reads the clock has to say that its effects are to be copied.
if redis.replicate_commands then redis.replicate_commands() end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local capacity = burst * period

local function element(text)
  local stamp, sum, full, rest = string.match(text, '^(%d+) (%d+) (%d+) (%d+)$')
  if not stamp then return nil end
  return {stamp = tonumber(stamp), sum = tonumber(sum), full = tonumber(full), rest = tonumber(rest)}
end

local function text(e)
  return string.format('%.0f %.0f %.0f %.0f', e.stamp, e.sum, e.full, e.rest)
end

-- What holds something else is not ours and is overwritten.
local function at(index)
  local found = redis.pcall('LINDEX', key, index)
  if not found then return nil end
  local known = type(found) == 'string' and element(found)
  if not known then redis.call('DEL', key) end
  return known or nil
end

local function rounded(t) return (math.floor(t / unit) + 1) * unit end

local last = at(-1)
local first = last and at(0)
if not first then
  first = {stamp = 0, sum = 0, full = 0, rest = 0}
  last = first
end
local fresh = first == last
local changed = false

-- What the bucket lacks at `t`, in tokens-ths of a microsecond; after what came later than `t` it may
-- be more than it holds.
local function owed_at(e, t)
  return math.max(0, (e.full - t) * tokens + math.min(e.rest, tokens - 1))
end

-- The same now: no more than it holds.
local function debt_of(e)
  if tokens == 0 then return 0 end
  return math.min(capacity, owed_at(e, now))
end

local function owing(e, debt, t)
  if tokens == 0 then return e end
  local whole = math.floor(debt / tokens)
  e.full, e.rest = t + whole, debt - whole * tokens
  return e
end

-- Writes the list anew from groups of stamp and count; the bucket is kept with the last.
local function rewrite(groups, bucket)
  table.sort(groups, function(a, b) return a[1] < b[1] end)
  first = {stamp = 0, sum = 0, full = bucket.full, rest = bucket.rest}
  last = first
  local texts, sum = {text(first)}, 0
  for _, group in ipairs(groups) do
    if group[2] > 0 then
      sum = sum + group[2]
      last = {stamp = group[1], sum = sum, full = bucket.full, rest = bucket.rest}
      texts[#texts + 1] = text(last)
    end
  end
  -- Without memory nothing can be added, and what was taken away would be lost.
  local refused = redis.call('EXISTS', key) == 1 and redis.pcall('LSET', key, -1, texts[#texts])
  if type(refused) == 'table' and refused.err then return refused end
  redis.call('DEL', key)
  refused = nil
  for from = 1, #texts, 500 do
    local done = redis.pcall('RPUSH', key, unpack(texts, from, math.min(from + 499, #texts)))
    if type(done) == 'table' and done.err then refused = done end
  end
  fresh, changed = false, true
  return refused
end

-- Forgets what has left the window.
while true do
  local second = at(1)
  if not second or second.stamp + WINDOW > now then break end
  redis.call('LPOP', key)
  first, changed = second, true
end
if last.stamp > now + AHEAD then
  local refused = rewrite({{rounded(now), last.sum - first.sum}}, owing({full = 0, rest = 0}, debt_of(last), now))
  if refused then return refused end
end

-- What is not known here yet: what was counted and not used, and what was admitted without asking.
if #arg > 9 then
  local groups, before = {}, first.sum
  for i, found in ipairs(redis.call('LRANGE', key, 1, -1)) do
    local e = element(found)
    if e then
      groups[i] = {e.stamp, e.sum - before}
      before = e.sum
    end
  end
  local bucket = {full = last.full, rest = last.rest}
  for i = 10, #arg - 1, 2 do
    if i < 10 + 2 * returns then
      local back = arg[i + 1]
      for _, group in ipairs(groups) do
        -- Several may have the stamp.
        local part = group[1] == arg[i] and math.min(group[2], back) or 0
        group[2], back = group[2] - part, back - part
      end
    else
      local t = math.max(0, now - arg[i])
      -- What came since is in the bucket already: a bound as of then would forgive it.
      owing(bucket, owed_at(bucket, t) + math.min(arg[i + 1], burst) * period, t)
      if limit > 0 and rounded(t) + WINDOW > now then
        groups[#groups + 1] = {rounded(t), arg[i + 1]}
      end
    end
  end
  local refused = rewrite(groups, owing(bucket, debt_of(bucket), now))
  if refused then return refused end
end

-- Asks both.
local used, debt = last.sum - first.sum, debt_of(last)
local weight, price = math.min(cost, limit), math.min(cost, burst) * period
local wait_minute, wait_burst = 0, 0
local excess = used + weight - limit
if limit > 0 and excess > 0 then
  local low, high = 1, redis.call('LLEN', key) - 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    local e = at(middle)
    if e and e.sum - first.sum < excess then low = middle + 1 else high = middle end
  end
  local e = at(low) or last
  wait_minute = math.max(1, e.stamp + WINDOW - now)
end
if tokens > 0 and debt + price > capacity then
  wait_burst = math.ceil((debt + price - capacity) / tokens)
end
local admitted = wait_minute == 0 and wait_burst == 0

-- Charges both, and permits on top while there is plenty and no bucket. Those may be used until they
-- end and are charged as if at that moment: see lease.rs.
local extra, stamp = 0, 0
if admitted then
  debt = debt + price
  local left = limit - used - weight
  if want > 0 and limit > 0 and tokens == 0 and left * 2 >= limit then
    extra = math.min(want, math.floor(left / 16))
  end
  stamp = last.stamp
  if limit > 0 then
    stamp = math.max(last.stamp, rounded(extra > 0 and now + validity or now))
    used = used + weight + extra
  end
  local counted = owing({stamp = stamp, sum = first.sum + used, full = 0, rest = 0}, debt, now)
  local done
  if fresh and limit > 0 and redis.call('EXISTS', key) == 0 then
    done = redis.pcall('RPUSH', key, text(first), text(counted))
  elseif last.stamp == stamp and redis.call('EXISTS', key) == 1 then
    done = redis.pcall('LSET', key, -1, text(counted))
  else
    done = redis.pcall('RPUSH', key, text(counted))
  end
  if type(done) == 'table' and done.err then return done end
  last, changed = counted, true
end

local minute_reset = used > 0 and math.max(0, last.stamp + WINDOW - now) or 0
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
  burst_left, burst_reset, extra, stamp, now}

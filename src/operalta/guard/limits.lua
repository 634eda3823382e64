#!lua
-- Decides one request over all its dimensions at once.
--
-- KEYS[i]  the log of one dimension: a list of the times (microseconds, oldest first) of admitted requests
-- ARGV     for each key its limit and its window in microseconds
-- Returns  {1 if admitted else 0, then for each key: how many more fit, microseconds until one more does}
--
-- Without flags in its first line the server refuses the whole script before it starts when it is full or
-- read-only, so a request is never counted in one dimension and not in another.

local BLOCK = 64

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])

-- Forget what has left the window, by blocks first: a burst that ages at once must not hold the server up.
local function forget(key, horizon)
  local size = BLOCK
  while size >= 1 do
    local newest_of_block = redis.call('LINDEX', key, size - 1)
    if newest_of_block and tonumber(newest_of_block) <= horizon then
      redis.call('LPOP', key, size)
    elseif size == 1 then
      return
    else
      size = 1
    end
  end
end

local admitted = 1
local used = {}
for i, key in ipairs(KEYS) do
  local limit, window = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  forget(key, now - window)
  used[i] = redis.call('LLEN', key)
  if used[i] >= limit then
    admitted = 0
  end
end

local reply = {admitted}
for i, key in ipairs(KEYS) do
  local limit, window = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  if admitted == 1 then
    redis.call('RPUSH', key, string.format('%.0f', now))
    redis.call('PEXPIRE', key, string.format('%.0f', window / 1000 + 1))
    used[i] = used[i] + 1
  end
  -- With a limit lowered meanwhile more than `limit` may be logged: room comes when all surplus has aged.
  local first_to_leave = redis.call('LINDEX', key, math.max(0, used[i] - limit))
  local wait = 0
  if first_to_leave then
    wait = math.max(1, tonumber(first_to_leave) + window - now)
  end
  reply[2 * i] = math.max(0, limit - used[i])
  reply[2 * i + 1] = wait
end
return reply

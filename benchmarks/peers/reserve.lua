-- One order, all lines or none, in one call.
-- KEYS: the answer remembered under the request id, the hold, the holds by expiry, then a counter
-- for each line. ARGV: reservation id, expiry in ms, seconds to remember, then units for each line.
-- Returns {status, what}: 1 and the reservation, 0 and the first short line, 2 and the reservation
-- that the same request id made before.
local first = 3
local lines = #KEYS - first
local read = redis.call('MGET', KEYS[1], unpack(KEYS, first + 1))
if read[1] then
  return {2, read[1]}
end
local counters = {}
local record = {}
for line = 1, lines do
  local units = tonumber(ARGV[first + line])
  local left = (tonumber(read[line + 1]) or 0) - units
  if left < 0 then
    return {0, line}
  end
  counters[#counters + 1] = KEYS[first + line]
  counters[#counters + 1] = string.format('%.0f', left)
  record[line] = KEYS[first + line] .. '=' .. units
end
counters[#counters + 1] = KEYS[2]
counters[#counters + 1] = table.concat(record, ';')
redis.call('MSET', unpack(counters))
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
redis.call('ZADD', KEYS[3], ARGV[2], ARGV[1])
return {1, ARGV[1]}

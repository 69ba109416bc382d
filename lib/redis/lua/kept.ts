/** What `publish` does with the texts of jobs, and with the kept messages of a stream. */
export const KEPT = `
-- Texts -----------------------------------------------------------------------------------------------------------------------

local function received (job)
  return job[TEXT_START] and job[TEXT_END] + #job[HALF] / 2 or 0
end

local function textUnits (job)
  return job[TEXT_START] and job[TEXT_END] - job[TEXT_START] or 0
end

local function skipTo (job, offset)
  call('DEL', textKeyOf(job[ID]))
  job[HALF], job[TEXT_START], job[TEXT_END] = '', offset, offset
end

local function discardText (job)
  call('DEL', textKeyOf(job[ID]))
  job[TEXT_START] = job[TEXT_END]
end

-- Keeps the newest part. It cuts an eighth more than it must, so that not every append has to.
local function trimText (job, key)
  local units = job[TEXT_END] - job[TEXT_START]
  local cut = units - math.ceil(maxUnits * 7 / 8)
  local high = byte(call('GETRANGE', key, 2 * cut + 1, 2 * cut + 1))
  if high and high >= 0xdc and high <= 0xdf then cut = cut + 1 end
  if cut >= units then
    call('DEL', key)
  else
    call('SET', key, call('GETRANGE', key, 2 * cut, -1), 'PX', endTtl)
  end
  job[TEXT_START] = job[TEXT_START] + cut
end

-- Discards texts while all of them together are too long: those of ended jobs first, oldest first, then the longest.
local function limitTexts ()
  local units = 0
  for n = 1, #running do units = units + textUnits(running[n]) end
  -- Without an end in this call, only the running jobs' texts have grown.
  for n = 1, ended and #ended or 0 do units = units + textUnits(ended[n]) end
  if units <= MAX_STREAM_UNITS then return end
  loadEnded()
  for n = 1, #ended - 1 do
    if units <= MAX_STREAM_UNITS then return end
    if textUnits(ended[n]) > 0 then
      units, isEndedChanged = units - textUnits(ended[n]), true
      discardText(ended[n])
    end
  end
  while units > MAX_STREAM_UNITS do
    local longest = ended[#ended]
    for n = 1, #running do
      if not longest or textUnits(running[n]) > textUnits(longest) then longest = running[n] end
    end
    if not longest or textUnits(longest) == 0 then return end
    units, isEndedChanged = units - textUnits(longest), true
    discardText(longest)
  end
end

local function append (job, piece, isLast)
  local text = job[HALF] == '' and piece or job[HALF] .. piece
  job[HALF] = ''
  local last = byte(text, -1)
  if not isLast and last and last >= 0xd8 and last <= 0xdb then
    job[HALF] = sub(text, -2)
    text = sub(text, 1, -3)
  end
  if text == '' then return text end
  local key = textKeyOf(job[ID])
  local before = 2 * (job[TEXT_END] - job[TEXT_START])
  -- If the key was evicted, the text begins anew.
  if before == 0 or call('APPEND', key, text) ~= before + #text then
    call('SET', key, text, 'PX', endTtl)
    job[TEXT_START] = job[TEXT_END]
  end
  job[TEXT_END] = job[TEXT_END] + #text / 2
  local units = job[TEXT_END] - job[TEXT_START]
  if units > maxUnits then trimText(job, key) end
  return text
end

-- Returns the end of the part to publish now, its begin, and what is kept of it.
local function takeUnpublished (job, appended)
  local first, last = job[PUBLISHED], job[TEXT_END]
  job[PUBLISHED] = last
  local offset = max(job[TEXT_START], min(first, last))
  if 2 * (last - offset) == #appended then return first, last, offset, appended end
  if offset == last then return first, last, offset, '' end
  local text = call('GETRANGE', textKeyOf(job[ID]), 2 * (offset - job[TEXT_START]), 2 * (last - job[TEXT_START]) - 1)
  -- If the key was evicted, nothing is kept of it.
  if #text ~= 2 * (last - offset) then return first, last, last, '' end
  return first, last, offset, text
end

-- Kept messages ---------------------------------------------------------------------------------------------------------------

-- A hash that is new, or was evicted, has no lifetime yet.
local function keepField (field, value)
  if call('HSET', nameJobs(), field, value) == 1 then call('PEXPIRE', jobsKey, endTtl) end
end

-- Discards what no replay can contain any more of a job that has ended.
local function discard (job)
  isEndedChanged = true
  call('HDEL', nameJobs(), 's' .. job[ID], 'p' .. job[ID], 'f' .. job[ID])
  if job[TEXT_START] then call('DEL', textKeyOf(job[ID])) end
  job[TEXT_START], job[PROGRESS_REV], job[START_REV], job[END_REV] = false, false, false, false
end

local function firstRev ()
  local first = call('LINDEX', nameList(), 0)
  return first and (parse(first)) or math.huge
end

local function dropOldest ()
  local _, bytesOfKept = parse(call('LPOP', nameList()))
  bytes = bytes - bytesOfKept
end

local function dropAll ()
  call('DEL', nameList())
  bytes = 0
end

local function addEntry (kept, bytesOfKept)
  if maxMessages == 0 then return end
  local length = call('RPUSH', nameList(), kept)
  if length == 1 then
    -- The earlier messages, if any, have expired.
    bytes = 0
    call('PEXPIRE', nameList(), ttl)
  end
  bytes = bytes + bytesOfKept
  while length > maxMessages or bytes > maxBytes do
    dropOldest()
    length = length - 1
  end
end
`

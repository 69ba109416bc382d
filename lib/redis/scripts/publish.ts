/**
 * Publishes messages, each as if it were published alone: a message that is refused or fails does not affect the others.
 *
 * KEYS: metadata of each stream, as often as the stream is named.
 *
 * ARGV: 1 settings of the node, see `contextOf`, then streams and their messages. Each begins with a letter:
 *
 * - `g`, stream: the stream of the messages that follow.
 * - `r`: this node has not renewed the lifetimes of the stream's keys for a while. Stands after the stream.
 * - `k`, counter, whether it may have been used (0 or 1): the counter of the message that follows.
 * - `d`, size, frame without its position: a durable message.
 * - `n`, frame: a durable message that is too large to keep.
 * - `e`, frame: an ephemeral message.
 * - `s`, `p`, `c`, `x` (start, progress, complete, error), flags, job id or the id of a new job, chunks or empty, from or empty, delta in
 *   UTF-16LE, body, size (not of a progress): a report on a job. The flags are one digit each: presumed, repeated, truncated, whether
 *   there are a job id and a delta, durable, what fits (0 nothing, 1 the body, 2 the short form), whether an ownership follows. If the
 *   short form is what fits, it and its size follow last.
 *
 * Returns a string for each message, or the string alone if there is one message: epoch, revision (0 if refused) and seq,
 * separated by spaces; then, if it is not a kept message without a job: kept (0 or 1), textEnd (-1 if there is none), reason why it
 * was dropped or `-`, job id. A message that failed has `!` and an error.
 *
 * Frequent paths create few strings and tables, and call few commands: see `test/bench/redis`.
 */
export const PUBLISH = `
local MAX_ENDED = 32
-- Running jobs of a stream. A call unpacks all of them.
local MAX_RUNNING = 256
-- Texts of all jobs of a stream, in UTF-16 units.
local MAX_STREAM_UNITS = 4194304
-- Bits of a frame.
local DURABLE, SUPERSEDES, HAS_TEXT, HAS_JOB, IS_END = 1, 2, 4, 8, 16
local ONE, TWO = 49, 50

local node, channel
local maxMessages, maxBytes, ttl, endTtl, maxUnits
local isOpen, isEndedChanged, isRenewed
-- Why the stream could not be opened.
local failure
-- The message. Most of it is only read if it is about a job.
local args, at
local event, presumed, repeated, truncated, hasId, delta, durable, fits, givenId, chunks, from, size, body, ownership, short, shortSize
local isProgress, isRealEnd

-- Results ---------------------------------------------------------------------------------------------------------------------

local function result (ofRev, kept, textEnd, dropped, id)
  return epoch .. ' ' .. ofRev .. ' ' .. seq .. ' ' .. kept .. ' ' .. textEnd .. ' ' .. dropped .. ' ' .. id
end

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
  if #running > 1 or units > MAX_STREAM_UNITS then limitTexts() end
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

-- Messages without a job ------------------------------------------------------------------------------------------------------

local function publishDurable (bytesOfKept, rest)
  rev, seq = rev + 1, seq + 1
  local position = epoch .. ' ' .. rev .. ' ' .. seq
  local sent = position .. rest
  call('PUBLISH', channel, sent)
  if bytesOfKept then
    addEntry(sent, bytesOfKept)
    if maxMessages > 0 then return position end
  else
    dropAll()
  end
  return result(rev, '0', '-1', '-', '')
end

local function publishEphemeral (rest)
  rev = rev + 1
  local position = epoch .. ' ' .. rev .. ' ' .. seq
  call('PUBLISH', channel, position .. rest)
  return position
end

-- Reports on jobs -------------------------------------------------------------------------------------------------------------

local function frame (id, content, ofSize, bits)
  return epoch .. ' ' .. rev .. ' ' .. seq .. ' ' .. ofSize .. ' ' .. bits .. ' ' .. (digits[#id] or #id) .. '\\n' .. id .. content
end

-- Returns the position of the message, and the end of the text, both as text: it takes time to format a number.
local function sendProgress (id, content, first, last, offset, text)
  rev = rev + 1
  local position = epoch .. ' ' .. rev .. ' ' .. seq
  if not text then
    call('PUBLISH', channel, position .. ' 0 8 ' .. (digits[#id] or #id) .. '\\n' .. id .. content)
    return position, '-1'
  end
  local stop = last .. ''
  call('PUBLISH', channel, position .. ' 0 12 ' .. (digits[#id] or #id) .. ' ' .. first .. ' ' .. stop .. (offset == first and '\\n' or ' ' .. offset .. '\\n') .. id .. text .. content)
  return position, stop
end

-- Returns the body to keep: the whole one, its short form, or nothing.
local function keepableBody ()
  if fits == ONE then return body end
  if fits == TWO then return short end
end

local function tell (owner, id)
  if owner and owner ~= node then call('PUBLISH', context.channels .. owner, cjson.encode({type = 'disowned', stream = stream, jobId = id})) end
end

local function own (job)
  local owner = job[OWNER]
  job[OWNER], job[REPORTS] = node, job[REPORTS] + 1
  if owner then call('SREM', base .. 'own:' .. owner, listed(job[ID])) end
  call('SADD', base .. 'own:' .. node, listed(job[ID]))
  call('PEXPIRE', base .. 'own:' .. node, endTtl)
  tell(owner, job[ID])
end

local function mayReport (job)
  if not presumed and (not repeated or isRealEnd) then return true end
  if ownership then return ownershipOf(job) == ownership end
  return not job[OWNER] or job[OWNER] == node
end

-- Forgets a running job, because the stream has too many.
local function evict (job)
  call('HDEL', nameJobs(), 's' .. job[ID], 'p' .. job[ID])
  if job[TEXT_START] then call('DEL', textKeyOf(job[ID])) end
  if job[OWNER] then call('SREM', base .. 'own:' .. job[OWNER], listed(job[ID])) end
end

local function begin (id)
  if #running >= MAX_RUNNING then evict(table.remove(running, 1)) end
  local job = {id, false, false, 0, false, false, 0, '', 0, false, false, false}
  running[#running + 1] = job
  return job
end

-- Returns the job of the report and whether the report supersedes an end; or nil, why it is refused, and the job whose end is presumed.
local function decide ()
  if hasId then
    local job = find(running, givenId)
    if job then
      if not mayReport(job) then return nil, 'owned' end
      if event ~= 's' then return job, false end
      if job[OWNER] ~= node then own(job) end
      return nil, 'started'
    end
    loadEnded()
    job = find(ended, givenId)
    if not job then return begin(givenId), false end
    if isRealEnd and job[PRESUMED] then return job, true end
    return nil, 'ended', job[PRESUMED] and job or nil
  end
  if event == 's' then return begin(givenId), false end
  local newest = running[#running]
  if newest then
    if mayReport(newest) then return newest, false end
    return nil, 'owned'
  end
  loadEnded()
  local last = ended[#ended]
  if isRealEnd then
    if last and last[PRESUMED] then return last, true end
    return begin(givenId), false
  end
  if isProgress and (not last or (chunks and last[CHUNKS] and chunks < last[CHUNKS])) then return begin(givenId), false end
  if not last then return nil, 'stray' end
  return nil, 'ended', last[PRESUMED] and last or nil
end

-- Keeps the text of a progress that comes after a presumed end. It is published before the real end.
local function keepLateText (job)
  if not delta then return end
  isEndedChanged = true
  if not job[TEXT_START] then job[TEXT_START], job[TEXT_END] = 0, 0 end
  local has = received(job)
  if from and from > has then return end
  append(job, from and sub(delta, 2 * (has - from) + 1) or delta, false)
  if job[PROGRESS_REV] then return end
  local kept = keepableBody()
  if kept then
    keepField('p' .. job[ID], kept)
    job[PROGRESS_REV] = job[END_REV] or rev
  end
end

local function forget (job)
  local hadText, revOfEnd = job[TEXT_START], job[END_REV]
  discard(job)
  if not hadText or not revOfEnd then return end
  -- Subscribers that would need its text can't be recovered any more.
  while firstRev() <= revOfEnd do dropOldest() end
end

local function publishProgress (job)
  local id = job[ID]
  if delta and not job[TEXT_START] then job[TEXT_START], job[TEXT_END] = 0, 0 end
  local position, textEnd
  if job[TEXT_START] then
    local has = received(job)
    if from and from > has then
      skipTo(job, from)
      has = from
    end
    local piece = delta or ''
    if from and from < has then piece = sub(piece, 2 * (has - from) + 1) end
    position, textEnd = sendProgress(id, body, takeUnpublished(job, append(job, piece, false)))
    if job[HALF] ~= '' then textEnd = received(job) end
  else
    position, textEnd = sendProgress(id, body)
  end
  local kept = keepableBody()
  if kept then
    keepField('p' .. id, kept)
    job[PROGRESS_REV] = rev
  end
  return position .. ' 1 ' .. textEnd .. ' - ' .. id
end

local function publishStartOrEnd (job, supersedes, before)
  local id, isStart = job[ID], event == 's'
  if not presumed and job[TEXT_START] and job[PROGRESS_REV] then
    append(job, '', true)
    local progress = job[TEXT_END] ~= job[PUBLISHED] and call('HGET', nameJobs(), 'p' .. id)
    if progress then sendProgress(id, progress, takeUnpublished(job, '')) end
  end
  rev = rev + 1
  if durable then seq = seq + 1 end
  local bits = HAS_JOB + (supersedes and SUPERSEDES or 0) + (isStart and 0 or IS_END) + (durable and DURABLE or 0)
  local sent = frame(id, body, size, bits)
  call('PUBLISH', channel, sent)
  local kept, bytesOfKept = nil, size
  if fits == ONE then kept = sent elseif fits == TWO then kept, bytesOfKept = frame(id, short, shortSize, bits), shortSize end
  if isStart then
    if kept then keepField('s' .. id, kept) end
    job[START_REV] = kept and rev or false
  else
    if job[OWNER] then call('SREM', base .. 'own:' .. job[OWNER], listed(id)) end
    call('HDEL', jobsKey, 's' .. id)
    if kept then keepField('f' .. id, kept) else call('HDEL', jobsKey, 'f' .. id) end
    job[START_REV], job[END_REV] = false, kept and rev or false
    if not job[TEXT_START] then
      call('HDEL', jobsKey, 'p' .. id)
      job[PROGRESS_REV] = false
    end
  end
  if durable then
    if kept then addEntry(kept, bytesOfKept) else dropAll() end
  end
  if before and before ~= ended[#ended] then
    -- Earlier ends can only be replayed as one of the kept messages now.
    local first = firstRev()
    for n = 1, #ended - 1 do
      local job = ended[n]
      if not job[PRESUMED] and (job[END_REV] or job[TEXT_START]) and (not job[END_REV] or first > job[END_REV]) then discard(job) end
    end
    if not before[PRESUMED] and before[TEXT_START] then call('PEXPIRE', textKeyOf(before[ID]), ttl) end
    limitTexts()
  end
  return result(rev, (fits == ONE or not durable) and '1' or '0', '-1', '-', id)
end

local function report ()
  isProgress = event == 'p'
  isRealEnd = (event == 'c' or event == 'x') and not presumed
  loadRunning()
  if not isProgress then loadEnded() end
  local before = not isProgress and ended[#ended] or nil

  if from and not truncated and hasId then
    local job = find(running, givenId)
    if not job then loadEnded() end
    if job or not find(ended, givenId) then
      local has = job and received(job) or 0
      if from > has then return result(0, '1', has, 'gap', '') end
    end
  end

  local job, verdict, presumedJob = decide()
  if not job then
    if presumedJob then keepLateText(presumedJob) end
    return result(0, '1', '-1', verdict, '')
  end
  if chunks then job[CHUNKS] = chunks end
  if event == 'c' or event == 'x' then
    job[PRESUMED], isEndedChanged = presumed, true
    local _, n = find(running, job[ID])
    if n then table.remove(running, n) end
    _, n = find(ended, job[ID])
    if n then table.remove(ended, n) end
    ended[#ended + 1] = job
    while #ended > MAX_ENDED do forget(table.remove(ended, 1)) end
  end
  if presumed or job[OWNER] == node then job[REPORTS] = job[REPORTS] + 1 else own(job) end
  if isProgress then return publishProgress(job) end
  return publishStartOrEnd(job, verdict, before)
end

-- Messages --------------------------------------------------------------------------------------------------------------------

local function readReport ()
  local p, r, t, i, d, s, f, o = byte(args[at + 1], 1, 8)
  presumed, repeated, truncated, hasId, durable, fits = p == ONE, r == ONE, t == ONE, i == ONE, s == ONE, f
  givenId, chunks, from, delta, body = args[at + 2], number(args[at + 3]) or false, number(args[at + 4]), d == ONE and args[at + 5] or nil, args[at + 6]
  at, ownership = at + 7, nil
  if event ~= 'p' then size, at = number(args[at]), at + 1 end
  if o == ONE then ownership, at = args[at], at + 1 end
  if f == TWO then short, shortSize, at = args[at], number(args[at + 1]), at + 2 end
end

local function resultsKey ()
  return base .. 'results:' .. node
end

local function knownResult (counter)
  local entries = call('LRANGE', resultsKey(), 0, -1)
  for n = 1, #entries do
    local gap = string.find(entries[n], ' ', 1, true)
    if sub(entries[n], 1, gap - 1) == counter then return sub(entries[n], gap + 1) end
  end
end

-- Publishes the message at \`at\`.
local function publishMessage (first)
  if event == 'd' then return publishDurable(number(args[first + 1]), args[first + 2]) end
  if event == 'n' then return publishDurable(nil, args[first + 1]) end
  if event == 'e' then return publishEphemeral(args[first + 1]) end
  return report()
end

local function publishOnce (first, counter, mayBeUsed)
  local known = mayBeUsed and knownResult(counter)
  if known then return known end
  local published = publishMessage(first)
  -- The node's newest 64 are enough.
  if call('LPUSH', resultsKey(), counter .. ' ' .. published) > 96 then call('LTRIM', resultsKey(), 0, 63) end
  call('PEXPIRE', resultsKey(), '3600000')
  return published
end

local function messageOf (thrown)
  return '!' .. (type(thrown) == 'table' and thrown.err or tostring(thrown))
end

local function renew ()
  call('PEXPIRE', nameList(), ttl)
  call('PEXPIRE', nameJobs(), endTtl)
  loadRunning()
  for n = 1, #running do
    if running[n][TEXT_START] then call('PEXPIRE', textKeyOf(running[n][ID]), endTtl) end
    if running[n][OWNER] == node then call('PEXPIRE', base .. 'own:' .. node, endTtl) end
  end
end

local function closeStream ()
  if isEndedChanged and #ended > 0 then keepField('e', packedJobs(ended)) end
  if isRenewed then
    renew()
    call('SET', metaKey, packedStream(), 'PX', endTtl)
  else
    call('SET', metaKey, packedStream(), 'KEEPTTL')
  end
end

-- Reads a message, and publishes it.
local function nextMessage ()
  local counter, mayBeUsed
  if args[at] == 'k' then counter, mayBeUsed, at = args[at + 1], args[at + 2] == '1', at + 3 end
  local first = at
  event = args[at]
  if event == 'd' then at = at + 3 elseif event == 'n' or event == 'e' then at = at + 2 else readReport() end
  if failure then error(failure) end
  if counter then return publishOnce(first, counter, mayBeUsed) end
  return publishMessage(first)
end

local function open (ofStream, ofMeta)
  choose(ofStream, ofMeta)
  openStream()
  channel = base .. 'c:' .. stream
  -- The lifetime of a stream that was never published to is short.
  isEndedChanged, isRenewed, isOpen = false, rev == 0, true
end

functions.publish = function (keys, argv)
  enter(argv[1])
  args, at = argv, 2
  node, maxMessages, maxBytes, ttl, endTtl, maxUnits = context.node, context.maxMessages, context.maxBytes, context.ttl, context.endTtl, context.maxUnits
  isOpen = false
  local results, count, begin, streams = {}, 0, 0, 0
  while true do
    local letter = args[at]
    if letter == 'r' then
      isRenewed, at = true, at + 1
    elseif letter and letter ~= 'g' then
      count = count + 1
      local isOk, published = pcall(nextMessage)
      results[count] = isOk and published or messageOf(published)
    else
      if isOpen then
        isOpen = false
        local isOk, thrown = pcall(closeStream)
        if not isOk then
          for n = begin, count do results[n] = messageOf(thrown) end
        end
      end
      if not letter then return count == 1 and results[1] or results end
      begin, streams = count + 1, streams + 1
      local isOk, thrown = pcall(open, args[at + 1], keys[streams])
      failure = not isOk and thrown or nil
      at = at + 2
    end
  end
end
`

import { STATE } from './state.js'

/**
 * Publishes one message.
 *
 * KEYS: generation of the bucket, metadata, list, jobs, results of the node.
 *
 * ARGV: 1 base, 2 stream, 3 generation, 4 node, 5 event (`-`, `start`, `progress`, `complete`, `error`), 6 flags: one digit each for
 * durable, presumed, repeated, truncated, delta, job id, ownership, 7 job id, 8 id of a new job, 9 chunks or empty, 10 ownership,
 * 11 delta in UTF-16LE, 12 from or empty, 13 body, 14 its size, 15 what fits (0 nothing, 1 the body, 2 the short form), 16 short
 * form, 17 its size, 18 counter or empty, 19 unused, 20 end of a new epoch, 21 maxMessages,
 * 22 maxBytes, 23 ttlMs, 24 endTtlMs, 25 maxTextUnits, 26 what channels of nodes begin with.
 *
 * Returns: epoch, seq, revision (0 if refused), job id, dropped, kept (0 or 1), textEnd (-1 if there is none).
 */
export const PUBLISH = `${STATE}
local base, stream, gen, node, event, flags = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local body, size, fits, short, shortSize = ARGV[13], tonumber(ARGV[14]), ARGV[15], ARGV[16], tonumber(ARGV[17])
local counter = ARGV[18]
local maxMessages, maxBytes, ttl, endTtl, maxUnits = tonumber(ARGV[21]), tonumber(ARGV[22]), tonumber(ARGV[23]), tonumber(ARGV[24]), tonumber(ARGV[25])
local metaKey, listKey, jobsKey = KEYS[2], KEYS[3], KEYS[4]
local channel = base .. 'c:' .. stream
local function flag (at) return string.byte(flags, at) == 49 end
local durable, presumed, repeated, truncated = flag(1), flag(2), flag(3), flag(4)
local delta = flag(5) and ARGV[11] or nil
local from = ARGV[12] ~= '' and tonumber(ARGV[12]) or nil
local jobId = flag(6) and ARGV[7] or nil
local ownership = flag(7) and ARGV[10] or nil
local chunks = ARGV[9] ~= '' and tonumber(ARGV[9]) or false

if call('GET', KEYS[1]) ~= gen then return outdated() end
-- Redis may execute the first attempt after its repetition, if that came on another connection. So each one looks.
local newest = counter ~= '' and call('LINDEX', KEYS[5], 0)
if newest and tonumber(string.match(newest, '^%d+')) >= tonumber(counter) then
  for _, entry in ipairs(call('LRANGE', KEYS[5], 0, -1)) do
    local at = string.find(entry, ' ', 1, true)
    if string.sub(entry, 1, at - 1) == counter then return cmsgpack.unpack(string.sub(entry, at + 1)) end
  end
end

local now = time()
local meta = openStream(metaKey, listKey, jobsKey, gen, ARGV[20])
local running, ended
local isEndedChanged = false
local function loadRunning () running = running or unpacked(call('HGET', jobsKey, 'r')) end
local function loadEnded () ended = ended or unpacked(call('HGET', jobsKey, 'e')) end
local function latestEnded () return ended[#ended] end
local function textKey (job) return textKeyOf(base, stream, job[ID]) end

-- Texts -----------------------------------------------------------------------------------------------------------------------

local function received (job)
  return job[TEXT_START] and job[TEXT_END] + #job[HALF] / 2 or 0
end

local function skipTo (job, offset)
  call('DEL', textKey(job))
  job[HALF], job[TEXT_START], job[TEXT_END] = '', offset, offset
end

-- Keeps the newest part. It cuts an eighth more than it must, so that not every append has to.
local function trimText (job, key)
  local units = job[TEXT_END] - job[TEXT_START]
  if units <= maxUnits then return end
  local cut = units - math.ceil(maxUnits * 7 / 8)
  local high = string.byte(call('GETRANGE', key, 2 * cut + 1, 2 * cut + 1))
  if high and high >= 0xdc and high <= 0xdf then cut = cut + 1 end
  if cut >= units then
    call('DEL', key)
  else
    call('SET', key, call('GETRANGE', key, 2 * cut, -1), 'PX', endTtl)
  end
  job[TEXT_START] = job[TEXT_START] + cut
end

local function append (job, piece, isLast)
  local text = job[HALF] .. piece
  job[HALF] = ''
  local last = string.byte(text, -1)
  if not isLast and last and last >= 0xd8 and last <= 0xdb then
    job[HALF] = string.sub(text, -2)
    text = string.sub(text, 1, -3)
  end
  if text == '' then return text end
  local key = textKey(job)
  local before = 2 * (job[TEXT_END] - job[TEXT_START])
  -- If the key was evicted, the text begins anew.
  if before == 0 or call('APPEND', key, text) ~= before + #text then
    call('SET', key, text, 'PX', endTtl)
    job[TEXT_START], job[TEXT_AT] = job[TEXT_END], now
  elseif now - job[TEXT_AT] > endTtl / 20 then
    call('PEXPIRE', key, endTtl)
    job[TEXT_AT] = now
  end
  job[TEXT_END] = job[TEXT_END] + #text / 2
  trimText(job, key)
  return text
end

-- Returns the end of the part to publish now, its begin, and what is kept of it.
local function takeUnpublished (job, appended)
  local first, last = job[PUBLISHED], job[TEXT_END]
  job[PUBLISHED] = last
  local offset = math.max(job[TEXT_START], math.min(first, last))
  if 2 * (last - offset) == #appended then return first, last, offset, appended end
  if offset == last then return first, last, offset, '' end
  return first, last, offset, call('GETRANGE', textKey(job), 2 * (offset - job[TEXT_START]), 2 * (last - job[TEXT_START]) - 1)
end

-- Kept messages ---------------------------------------------------------------------------------------------------------------

-- Discards what no replay can contain any more of a job that has ended.
local function discard (job)
  isEndedChanged = true
  call('HDEL', jobsKey, 's' .. job[ID], 'p' .. job[ID], 'f' .. job[ID])
  call('DEL', textKey(job))
  job[TEXT_START], job[PROGRESS_REV], job[START_REV], job[END_REV] = false, false, false, false
end

local function discardEndedBefore (rev)
  loadEnded()
  for at = 1, #ended - 1 do
    local job = ended[at]
    if job[END_REV] and job[END_REV] <= rev and not job[PRESUMED] then discard(job) end
  end
end

local function dropOldest ()
  local kept = call('LPOP', listKey)
  if not kept then
    meta[BYTES], meta[COUNT] = 0, 0
    return
  end
  local rev, bytes, bits = parse(kept)
  meta[BYTES], meta[COUNT] = meta[BYTES] - bytes, meta[COUNT] - 1
  if bits >= HAS_JOB then discardEndedBefore(rev) end
end

local function dropAll ()
  call('DEL', listKey)
  meta[BYTES], meta[COUNT] = 0, 0
  discardEndedBefore(meta[REV])
end

local function firstRev ()
  local first = call('LINDEX', listKey, 0)
  return first and (parse(first)) or math.huge
end

local function addEntry (kept, bytes)
  if not kept then return dropAll() end
  local length = call('RPUSH', listKey, kept)
  if length ~= meta[COUNT] + 1 then
    -- The older messages have expired.
    meta[BYTES] = 0
    discardEndedBefore(meta[REV] - 1)
  end
  meta[COUNT], meta[BYTES] = length, meta[BYTES] + bytes
  while meta[COUNT] > maxMessages or meta[BYTES] > maxBytes do dropOldest() end
  if length == 1 or now - meta[LIST_AT] > ttl / 20 then
    call('PEXPIRE', listKey, ttl)
    meta[LIST_AT] = now
  end
end

-- Frames to send. Nothing is sent before it is written, because the first write fails if the memory is full.
local outgoing = {}

-- Gives the message its place. Returns its revision, and the frame.
local function send (isDurable, bits, id, content, first, last, offset, text)
  meta[REV] = meta[REV] + 1
  if isDurable then
    meta[SEQ] = meta[SEQ] + 1
    bits = bits + DURABLE
  end
  if text then bits = bits + HAS_TEXT end
  local sent = frame(meta[EPOCH], meta[REV], meta[SEQ], size, bits, id, content, first, last, offset, text)
  outgoing[#outgoing + 1] = sent
  return meta[REV], sent, bits
end

-- Returns what is kept of the message: all of it, its short form or nothing; and its size.
-- The frame that was sent is the one to keep, unless it contains text.
local function keepable (rev, sent, bits, id)
  if fits == '1' then return sent or frame(meta[EPOCH], rev, meta[SEQ], size, bits, id, body), size end
  if fits == '2' then return frame(meta[EPOCH], rev, meta[SEQ], shortSize, bits, id, short), shortSize end
end

local function finish (id, rev, dropped, kept, textEnd)
  if running then
    local isEmpty = #running == 0 and (not ended or #ended == 0)
    if not isEmpty then
      if isEndedChanged then
        call('HSET', jobsKey, 'r', cmsgpack.pack(running), 'e', cmsgpack.pack(ended))
      else
        call('HSET', jobsKey, 'r', cmsgpack.pack(running))
      end
      if meta[JOBS_AT] == 0 or now - meta[JOBS_AT] > endTtl / 20 then
        call('PEXPIRE', jobsKey, endTtl)
        meta[JOBS_AT] = now
      end
    end
  elseif isEndedChanged and #ended > 0 then
    call('HSET', jobsKey, 'e', cmsgpack.pack(ended))
  end
  call('SET', metaKey, cmsgpack.pack(meta), 'PX', endTtl)
  local result = {meta[EPOCH], meta[SEQ], rev, id, dropped, kept, textEnd}
  if counter ~= '' then
    call('LPUSH', KEYS[5], counter .. ' ' .. cmsgpack.pack(result))
    call('LTRIM', KEYS[5], 0, 63)
    call('PEXPIRE', KEYS[5], 3600000)
  end
  for _, sent in ipairs(outgoing) do call('PUBLISH', channel, sent) end
  return result
end

if event == '-' then
  local rev, sent, bits = send(durable, 0, '', body)
  if not durable then return finish('', rev, '', 1, -1) end
  addEntry(keepable(rev, sent, bits, ''))
  return finish('', rev, '', fits == '1' and maxMessages > 0 and 1 or 0, -1)
end

-- Job rules -------------------------------------------------------------------------------------------------------------------

local MAX_ENDED = 32
local isProgress = event == 'progress'
local isRealEnd = (event == 'complete' or event == 'error') and not presumed
loadRunning()
local disowned = ''

local function tell (owner, id)
  if owner and owner ~= node then call('PUBLISH', ARGV[26] .. owner, cjson.encode({type = 'disowned', stream = stream, jobId = id})) end
end

local function own (job)
  local owner = job[OWNER]
  job[OWNER], job[REPORTS] = node, job[REPORTS] + 1
  if owner then call('SREM', base .. 'own:' .. owner, listed(stream, job[ID])) end
  call('SADD', base .. 'own:' .. node, listed(stream, job[ID]))
  call('PEXPIRE', base .. 'own:' .. node, endTtl)
  tell(owner, job[ID])
end

local function mayReport (job)
  if not presumed and (not repeated or isRealEnd) then return true end
  if ownership then return ownershipOf(job) == ownership end
  return not job[OWNER] or job[OWNER] == node
end

local function begin (id)
  local job = {id, false, false, 0, false, false, 0, '', 0, false, false, false, 0}
  running[#running + 1] = job
  return job
end

-- Returns the job of the report and whether the report supersedes an end; or nil, why it is refused, and the job whose end is presumed.
local function decide ()
  if jobId then
    local job = find(running, jobId)
    if job then
      if not mayReport(job) then return nil, 'owned' end
      if event ~= 'start' then return job, false end
      if job[OWNER] ~= node then own(job) end
      return nil, 'started'
    end
    loadEnded()
    job = find(ended, jobId)
    if not job then return begin(jobId), false end
    if isRealEnd and job[PRESUMED] then return job, true end
    return nil, 'ended', job[PRESUMED] and job or nil
  end
  if event == 'start' then return begin(ARGV[8]), false end
  local newest = running[#running]
  if newest then
    if mayReport(newest) then return newest, false end
    return nil, 'owned'
  end
  loadEnded()
  local last = latestEnded()
  if isRealEnd then
    if last and last[PRESUMED] then return last, true end
    return begin(ARGV[8]), false
  end
  if isProgress and (not last or (chunks and last[CHUNKS] and chunks < last[CHUNKS])) then return begin(ARGV[8]), false end
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
  append(job, from and string.sub(delta, 2 * (has - from) + 1) or delta, false)
  if job[PROGRESS_REV] then return end
  local rev = job[END_REV] or meta[REV]
  local kept = keepable(rev, nil, HAS_JOB, job[ID])
  if kept then
    call('HSET', jobsKey, 'p' .. job[ID], kept)
    job[PROGRESS_REV] = rev
  end
end

local function forget (job)
  local hadText, rev = job[TEXT_START], job[END_REV]
  discard(job)
  if not hadText or not rev then return end
  -- Subscribers that would need its text can't be recovered any more.
  while meta[COUNT] > 0 and firstRev() <= rev do dropOldest() end
  if firstRev() == math.huge then meta[COUNT], meta[BYTES] = 0, 0 end
end

if not isProgress then loadEnded() end
local previous = not isProgress and latestEnded() or nil

if from and not truncated and jobId then
  local job = find(running, jobId)
  if not job then loadEnded() end
  if job or not find(ended, jobId) then
    local has = job and received(job) or 0
    if from > has then return finish('', 0, 'gap', 1, has) end
  end
end

local job, verdict, presumedJob = decide()
if not job then
  if presumedJob then keepLateText(presumedJob) end
  return finish('', 0, verdict, 1, -1)
end
local id = job[ID]

if chunks then job[CHUNKS] = chunks end
if event == 'complete' or event == 'error' then
  job[PRESUMED], isEndedChanged = presumed, true
  local _, at = find(running, id)
  if at then table.remove(running, at) end
  _, at = find(ended, id)
  if at then table.remove(ended, at) end
  ended[#ended + 1] = job
  while #ended > MAX_ENDED do forget(table.remove(ended, 1)) end
end
if presumed or job[OWNER] == node then job[REPORTS] = job[REPORTS] + 1 else own(job) end

if isProgress then
  if delta and not job[TEXT_START] then job[TEXT_START], job[TEXT_END] = 0, 0 end
  local first, last, offset, text
  if job[TEXT_START] then
    if from and from > received(job) then skipTo(job, from) end
    local piece = delta or ''
    if from then piece = string.sub(piece, 2 * (received(job) - from) + 1) end
    first, last, offset, text = takeUnpublished(job, append(job, piece, false))
  end
  local rev, sent = send(false, HAS_JOB, id, body, first, last, offset, text)
  local kept = keepable(rev, not text and sent or nil, HAS_JOB, id)
  if kept then
    call('HSET', jobsKey, 'p' .. id, kept)
    job[PROGRESS_REV] = rev
  end
  return finish(id, rev, '', 1, job[TEXT_START] and received(job) or -1)
end

if not presumed and job[TEXT_START] and job[PROGRESS_REV] then
  append(job, '', true)
  local progress = job[TEXT_END] ~= job[PUBLISHED] and call('HGET', jobsKey, 'p' .. id)
  if progress then
    local first, last, offset, text = takeUnpublished(job, '')
    local _, _, _, content = parse(progress)
    send(false, HAS_JOB, id, content, first, last, offset, text)
  end
end
local rev, sent, bits = send(durable, HAS_JOB + (verdict and SUPERSEDES or 0) + (event == 'start' and 0 or IS_END), id, body)
local kept, bytes = keepable(rev, sent, bits, id)
if event == 'start' then
  if kept then call('HSET', jobsKey, 's' .. id, kept) end
  job[START_REV] = kept and rev or false
else
  if job[OWNER] then call('SREM', base .. 'own:' .. job[OWNER], listed(stream, id)) end
  call('HDEL', jobsKey, 's' .. id)
  if kept then call('HSET', jobsKey, 'f' .. id, kept) else call('HDEL', jobsKey, 'f' .. id) end
  job[START_REV], job[END_REV] = false, kept and rev or false
  if not job[TEXT_START] then
    call('HDEL', jobsKey, 'p' .. id)
    job[PROGRESS_REV] = false
  end
end
if durable then addEntry(kept, bytes) end
if previous and previous ~= latestEnded() and not previous[PRESUMED] then
  -- It can only be replayed as one of the kept messages now.
  if not previous[END_REV] or firstRev() > previous[END_REV] then
    discard(previous)
  elseif previous[TEXT_START] then
    call('PEXPIRE', textKey(previous), ttl)
  end
end
return finish(id, rev, '', (fits == '1' or not durable) and 1 or 0, -1)
`

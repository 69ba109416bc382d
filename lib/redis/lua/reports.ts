/** What `publish` does with reports on jobs. It follows `lib/streams/session-jobs.ts` and `stream-state.ts`. */
export const REPORTS = `
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
  if owner and owner ~= node and owner ~= WORKER then call('PUBLISH', context.channels .. owner, cjson.encode({type = 'disowned', stream = stream, jobId = id})) end
end

-- Makes the node of this call the owner of a job. A worker without a node has no lease: its job is orphaned if no other report follows.
local function own (job)
  local owner = job[OWNER]
  if owner == WORKER then call('ZREM', base .. 'released', released(job)) elseif owner then call('SREM', base .. 'own:' .. owner, listed(job[ID])) end
  job[OWNER], job[REPORTS] = node, job[REPORTS] + 1
  if node ~= WORKER then
    call('SADD', base .. 'own:' .. node, listed(job[ID]))
    call('PEXPIRE', base .. 'own:' .. node, endTtl)
  elseif not isRealEnd then
    listReleased(job)
  end
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
      if node == WORKER or job[OWNER] ~= node then own(job) end
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
  limitTexts()
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
    -- After the piece was sent, because its own text may be the longest.
    if #running > 1 then limitTexts() end
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
  if presumed or (node ~= WORKER and job[OWNER] == node) then job[REPORTS] = job[REPORTS] + 1 else own(job) end
  if isProgress then return publishProgress(job) end
  return publishStartOrEnd(job, verdict, before)
end
`

/**
 * Returns what a subscriber missed. It reads at most about 350 KB of messages and 128 KB of each text, so that no call blocks Redis
 * for long. \`messages\` and \`text\` return the rest.
 *
 * KEYS: metadata.
 *
 * ARGV: 1 settings of the node, 2 stream, 3 epoch of the position or empty, 4 its seq, 5 lifetime of a stream that was never published
 * to in ms, then job ids and the lengths of their texts that the subscriber has.
 *
 * Returns: epoch, seq, revision, reason or empty, number of missed messages, the first of them, then the states: a frame, or for a
 * progress an array: job id, revision, body, end of the text (-1 without text), offset, text.
 */
export const JOIN = `
local PAGE_BYTES = 1048576
local PAGE_UNITS = 65536

-- Returns the number of missed messages, or why they can't be returned.
local function missed (since, sinceSeq)
  if since == '' then return 0, 'new' end
  local head = since == epoch and seq or -1
  if head < 0 and previous ~= '' then
    local earlier = unpackAll(previous)
    for at = 1, #earlier, 2 do
      if earlier[at] == since then head = earlier[at + 1] end
    end
  end
  if sinceSeq < 0 or sinceSeq > head then return 0, 'restarted' end
  local count = seq - sinceSeq
  if count > context.maxMessages then return 0, 'overflow' end
  if count > 0 and count > call('LLEN', nameList()) then return 0, 'expired' end
  return count, ''
end

-- Returns messages from one seq to another, as many as fit. The size of a message is estimated generously.
local function entries (from, to)
  local length = call('LLEN', nameList())
  local most = max(1, math.floor(length * PAGE_BYTES / max(bytes, 1)))
  return call('LRANGE', nameList(), from - seq - 1, min(to, from + most - 1) - seq - 1)
end

-- Returns a part of a text, and where it begins. If the key was evicted, it begins at its end.
local function part (job, from, to)
  local offset = max(job[TEXT_START], from)
  local text = ''
  if offset < to then text = call('GETRANGE', textKeyOf(job[ID]), 2 * (offset - job[TEXT_START]), 2 * (to - job[TEXT_START]) - 1) end
  if 2 * (to - offset) ~= #text then return to, '' end
  return offset, text
end

functions.join = function (keys, argv)
  local since = argv[3]
  enter(argv[1])
  choose(argv[2], keys[1])
  openStream()
  if isChanged then
    if rev > 0 then call('SET', metaKey, packedStream(), 'KEEPTTL') else call('SET', metaKey, packedStream(), 'PX', argv[5]) end
  end
  local count, reason = missed(since, number(argv[4]))
  local result = {epoch, seq, rev, reason, count, count > 0 and entries(seq - count + 1, seq) or {}}
  if rev == 0 then return result end

  local have = {}
  for at = 6, #argv, 2 do have[argv[at]] = number(argv[at + 1]) end

  local function addProgress (job)
    local body = call('HGET', nameJobs(), 'p' .. job[ID])
    if not body then return end
    if not job[TEXT_START] then
      result[#result + 1] = {job[ID], job[PROGRESS_REV], body, -1}
      return
    end
    local held = have[job[ID]] or 0
    if held > job[TEXT_END] then held = 0 end
    local begin = max(job[TEXT_START], held)
    local offset, text = part(job, begin, min(job[TEXT_END], begin + PAGE_UNITS))
    result[#result + 1] = {job[ID], job[PROGRESS_REV], body, job[TEXT_END], offset, text}
  end

  local function addFrame (field)
    local kept = call('HGET', nameJobs(), field)
    if kept then result[#result + 1] = kept end
  end

  loadRunning()
  if reason == '' then
    if count > 0 then
      loadEnded()
      local first = parse(result[6][1])
      for at = 1, #ended do
        local job = ended[at]
        if job[END_REV] and job[END_REV] >= first and job[TEXT_START] and job[PROGRESS_REV] then addProgress(job) end
      end
    end
    for at = 1, #running do
      if running[at][PROGRESS_REV] then addProgress(running[at]) end
    end
  else
    loadEnded()
    local job = ended[#ended]
    if job and job[END_REV] then
      if job[TEXT_START] and job[PROGRESS_REV] then addProgress(job) end
      addFrame('f' .. job[ID])
    end
    for at = 1, #running do
      job = running[at]
      if job[START_REV] then addFrame('s' .. job[ID]) end
      if job[PROGRESS_REV] then addProgress(job) end
    end
  end
  return result
end

-- Opens a stream that a join has opened before. Returns false if it has begun anew since.
local function openAgain (keys, argv)
  enter(argv[1])
  choose(argv[2], keys[1])
  if call('EXISTS', metaKey) == 0 then return false end
  openStream()
  return epoch == argv[3]
end

-- Returns further messages. KEYS as above. ARGV: 1 settings, 2 stream, 3 epoch, 4 first seq, 5 last seq. Returns none if they are not kept.
functions.messages = function (keys, argv)
  if not openAgain(keys, argv) or seq - number(argv[4]) >= call('LLEN', nameList()) then return {} end
  return entries(number(argv[4]), number(argv[5]))
end

-- Returns a further part of a text. KEYS as above. ARGV: 1 settings, 2 stream, 3 epoch, 4 job id, 5 and 6 begin and end. Returns offset, text.
functions.text = function (keys, argv)
  local to = number(argv[6])
  if not openAgain(keys, argv) then return {to, ''} end
  loadRunning()
  loadEnded()
  local job = find(running, argv[4]) or find(ended, argv[4])
  if not job or not job[TEXT_START] or job[TEXT_END] < to then return {to, ''} end
  return {part(job, number(argv[5]), min(to, number(argv[5]) + PAGE_UNITS))}
end
`

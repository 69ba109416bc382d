import { STATE } from './state.js'

/**
 * Returns what a subscriber missed. Contains no loop over messages.
 *
 * KEYS: generation of the bucket, metadata, list, jobs.
 *
 * ARGV: 1 base, 2 stream, 3 generation, 4 end of a new epoch, 5 epoch of the position or empty, 6 its seq, 7 maxMessages,
 * 8 lifetime of a stream that was never published to in ms, then job ids and the lengths of their texts that the subscriber has.
 *
 * Returns: epoch, seq, revision, reason or empty, the missed messages, then an array for each state: frame, end of the text (-1 without
 * text), offset, text.
 */
export const JOIN = `${STATE}
local base, stream, gen, since, sinceSeq = ARGV[1], ARGV[2], ARGV[3], ARGV[5], tonumber(ARGV[6])
local metaKey, listKey, jobsKey = KEYS[2], KEYS[3], KEYS[4]
if call('GET', KEYS[1]) ~= gen then return outdated() end
local meta, isChanged = openStream(metaKey, listKey, jobsKey, gen, ARGV[4])
if isChanged then
  if meta[REV] > 0 then call('SET', metaKey, cmsgpack.pack(meta), 'KEEPTTL') else call('SET', metaKey, cmsgpack.pack(meta), 'PX', ARGV[8]) end
end

-- Returns the number of missed messages, or why they can't be returned.
local function missed ()
  if since == '' then return 0, 'new' end
  local head = since == meta[EPOCH] and meta[SEQ] or -1
  for at = 1, #meta[PREVIOUS], 2 do
    if meta[PREVIOUS][at] == since then head = meta[PREVIOUS][at + 1] end
  end
  if sinceSeq < 0 or sinceSeq > head then return 0, 'restarted' end
  local count = meta[SEQ] - sinceSeq
  if count > tonumber(ARGV[7]) then return 0, 'overflow' end
  if count > 0 and count > call('LLEN', listKey) then return 0, 'expired' end
  return count, ''
end

local count, reason = missed()
local entries = count > 0 and call('LRANGE', listKey, -count, -1) or {}
local result = {meta[EPOCH], meta[SEQ], meta[REV], reason, entries}
if call('EXISTS', jobsKey) == 0 then return result end

local have = {}
for at = 9, #ARGV, 2 do have[ARGV[at]] = tonumber(ARGV[at + 1]) end

local function add (field, job)
  local kept = call('HGET', jobsKey, field .. job[ID])
  if not kept then return end
  if field ~= 'p' or not job[TEXT_START] then
    result[#result + 1] = {kept, -1, 0, ''}
    return
  end
  local held = have[job[ID]] or 0
  if held > job[TEXT_END] then held = 0 end
  local offset = math.max(job[TEXT_START], held)
  local text = ''
  if offset < job[TEXT_END] then
    text = call('GETRANGE', textKeyOf(base, stream, job[ID]), 2 * (offset - job[TEXT_START]), 2 * (job[TEXT_END] - job[TEXT_START]) - 1)
  end
  -- If the key was evicted, the text is truncated.
  result[#result + 1] = {kept, job[TEXT_END], job[TEXT_END] - #text / 2, text}
end

local running, ended = unpacked(call('HGET', jobsKey, 'r')), unpacked(call('HGET', jobsKey, 'e'))
if reason == '' then
  if count > 0 then
    local first = parse(entries[1])
    for _, job in ipairs(ended) do
      if job[END_REV] and job[END_REV] >= first and job[TEXT_START] and job[PROGRESS_REV] then add('p', job) end
    end
  end
  for _, job in ipairs(running) do
    if job[PROGRESS_REV] then add('p', job) end
  end
else
  local job = ended[#ended]
  if job and job[END_REV] then
    if job[TEXT_START] and job[PROGRESS_REV] then add('p', job) end
    add('f', job)
  end
  for _, job in ipairs(running) do
    if job[START_REV] then add('s', job) end
    if job[PROGRESS_REV] then add('p', job) end
  end
end
return result
`

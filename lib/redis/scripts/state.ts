/**
 * Lua that the scripts share. It follows `lib/streams/session-jobs.ts`, `stream-state.ts` and `job-text.ts`; the differential fuzz
 * keeps them equal.
 *
 * The metadata and the states of jobs are packed arrays (MessagePack): one `GET` and one `SET` of a short string cost less than a
 * hash with a field for each. Texts are UTF-16LE: their offsets count UTF-16 units, a range of units is a range of bytes, and
 * half of a surrogate pair is not changed.
 */
export const STATE = `
-- Fields of the metadata. PREVIOUS has pairs: an earlier epoch, and the seq up to which it survived.
local EPOCH, GEN, SEQ, REV, BYTES, COUNT, LIST_AT, JOBS_AT, PREVIOUS = 1, 2, 3, 4, 5, 6, 7, 8, 9
-- Fields of a job. Revisions are false if nothing is kept; TEXT_START is false without text.
local ID, CHUNKS, OWNER, REPORTS, PRESUMED, TEXT_START, TEXT_END, HALF, PUBLISHED, PROGRESS_REV, START_REV, END_REV, TEXT_AT =
  1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13
local DURABLE, SUPERSEDES, HAS_TEXT, HAS_JOB, IS_END = 1, 2, 4, 8, 16
local MAX_PREVIOUS = 4

local call = redis.call

local function time ()
  local now = call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000)
end

local function outdated ()
  return redis.error_reply('AICWGEN the store has lost history, or is not known yet')
end

local function unpacked (raw)
  return raw and cmsgpack.unpack(raw) or {}
end

local function find (jobs, id)
  for at, job in ipairs(jobs) do
    if job[ID] == id then return job, at end
  end
end

local function ownershipOf (job)
  return string.format('%d %s', job[REPORTS], job[OWNER] or '')
end

-- Returns the metadata of a stream, and whether it has changed: it is new, or of an earlier incarnation of the store.
local function openStream (metaKey, listKey, jobsKey, gen, suffix)
  local raw = call('GET', metaKey)
  if not raw then
    call('DEL', listKey, jobsKey)
    return {gen .. '.' .. suffix, gen, 0, 0, 0, 0, 0, 0, {}}, true
  end
  local meta = cmsgpack.unpack(raw)
  if meta[GEN] == gen then return meta, false end
  local survived = {meta[EPOCH], meta[SEQ]}
  for at = 1, math.min(#meta[PREVIOUS], 2 * (MAX_PREVIOUS - 1)), 2 do
    survived[at + 2] = meta[PREVIOUS][at]
    survived[at + 3] = math.min(meta[PREVIOUS][at + 1], meta[SEQ])
  end
  meta[EPOCH], meta[GEN], meta[PREVIOUS] = gen .. '.' .. suffix, gen, survived
  return meta, true
end

-- Returns what nodes receive and what is kept: a line of numbers, then the job id, the text and the body.
local function frame (epoch, rev, seq, size, flags, id, body, from, to, offset, text)
  return string.format('%s %d %d %d %d %d %d %d %d %d\\n', epoch, rev, seq, size, flags, #id, from or 0, to or 0, offset or 0, text and #text or 0)
    .. id .. (text or '') .. body
end

-- Returns the revision, size, flags, and the body of a kept frame.
local function parse (kept)
  local rev, size, flags, idLength, stop = string.match(kept, '^%S+ (%d+) %d+ (%d+) (%d+) (%d+) [%d ]+()')
  return tonumber(rev), tonumber(size), tonumber(flags), string.sub(kept, stop + 1 + tonumber(idLength))
end

local function textKeyOf (base, stream, id)
  return base .. 't:' .. #stream .. ':' .. stream .. ':' .. id
end

-- A job that a node owns, as it is listed for the case that the node dies.
local function listed (stream, id)
  return cmsgpack.pack({stream, id})
end
`

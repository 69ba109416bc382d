/**
 * Lua that the functions share. It follows `lib/streams/session-jobs.ts`, `stream-state.ts` and `job-text.ts`; the differential fuzz
 * keeps them equal.
 *
 * Redis executes one function at a time, so the stream that a call is about is held in local variables of the library. The metadata
 * and the states of running jobs are one string (MessagePack without an array around it): one `GET` and one `SET` cost less than a
 * hash with a field for each. Texts are UTF-16LE: their offsets count UTF-16 units, a range of units is a range of bytes, and half
 * of a surrogate pair is not changed.
 */
export const STATE = `
-- Fields of a job. Revisions are false if nothing is kept; TEXT_START is false without text.
local ID, CHUNKS, OWNER, REPORTS, PRESUMED, TEXT_START, TEXT_END, HALF, PUBLISHED, PROGRESS_REV, START_REV, END_REV =
  1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
local JOB_FIELDS, META_FIELDS = 12, 5
-- Owner of the jobs of workers without a node.
local WORKER = '-'
local MAX_PREVIOUS = 4

-- Redis' functions and Lua's. They do not exist yet while the library is loaded, so \`enter\` sets them.
local call, pack, unpackAll, unpackSome, sub, byte, max, min, values, number

local function time ()
  local now = call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000)
end

-- Settings of a node. Nodes send the same string with each call, so that it need not be parsed again.
local contexts, contextCount = {}, 0

local function contextOf (settings)
  local known = contexts[settings]
  if known then return known end
  local gen, node, channels, maxMessages, maxBytes, ttl, endTtl, maxUnits, stallAfter =
    string.match(settings, '^(%S+) (%S+) (%S+) (%d+) (%d+) (%d+) (%d+) (%d+) (%S+)$')
  known = {
    gen = gen, genLength = #gen + 1, genPrefix = gen .. '.', node = node, channels = channels,
    maxMessages = number(maxMessages), maxBytes = number(maxBytes), ttl = ttl, endTtl = endTtl, maxUnits = number(maxUnits), stallAfter = number(stallAfter)
  }
  if contextCount >= 1000 then contexts, contextCount = {}, 0 end
  contexts[settings], contextCount = known, contextCount + 1
  return known
end

local OUTDATED = 'AICWGEN the store has lost history, or is not known yet'

-- The stream. PREVIOUS has pairs: an earlier epoch, and the seq up to which it survived.
local context, base, stream, metaKey, listKey, jobsKey
local isCurrent
local epoch, seq, rev, bytes, previous
-- The metadata as it was read, and where the running jobs begin in it.
local raw, jobsAt
local isChanged
-- Its running and ended jobs, once they are needed.
local running, ended

local function find (jobs, id)
  for at = 1, #jobs do
    if jobs[at][ID] == id then return jobs[at], at end
  end
end

local function ownershipOf (job)
  return string.format('%d %s', job[REPORTS], job[OWNER] or '')
end

-- Lengths of names, as text.
local digits = {}
for length = 0, 1024 do digits[length] = length .. '' end

local function textKeyOf (id)
  return base .. 't:' .. (digits[#stream] or #stream) .. ':' .. stream .. ':' .. id
end

-- Begins a call.
local function enter (settings)
  if not call then
    call, pack, unpackAll, unpackSome = redis.call, cmsgpack.pack, cmsgpack.unpack, cmsgpack.unpack_limit
    sub, byte, max, min, values, number = string.sub, string.byte, math.max, math.min, unpack, tonumber
  end
  context, isCurrent = settings and contextOf(settings), false
end

-- A job that a node owns, as it is listed for the case that the node dies.
local function listed (id)
  return pack({stream, id})
end

-- Reads jobs from a position on, which is negative if there are none.
local function unpackedJobs (packed, at)
  local jobs, count = {}, 0
  while at >= 0 do
    local id, chunks, owner, reports, presumed, from, to, half, published, progressRev, startRev, endRev
    at, id, chunks, owner, reports, presumed, from, to, half, published, progressRev, startRev, endRev = unpackSome(packed, JOB_FIELDS, at)
    count = count + 1
    jobs[count] = {id, chunks, owner, reports, presumed, from, to, half, published, progressRev, startRev, endRev}
  end
  return jobs
end

local function packedJobs (jobs)
  local parts = {}
  for at = 1, #jobs do parts[at] = pack(values(jobs[at], 1, JOB_FIELDS)) end
  return table.concat(parts)
end

local function loadRunning ()
  running = running or unpackedJobs(raw, jobsAt)
end

local function nameList ()
  listKey = listKey or base .. 'l:' .. stream
  return listKey
end

local function nameJobs ()
  jobsKey = jobsKey or base .. 'j:' .. stream
  return jobsKey
end

local function loadEnded ()
  if ended then return end
  local packed = call('HGET', nameJobs(), 'e')
  ended = packed and unpackedJobs(packed, 0) or {}
end

local function released (job)
  return pack({stream, job[ID], ownershipOf(job)})
end

-- Lists a job that has no owner, so that it is orphaned later. Without a stall timeout, it waits for as long as it takes.
local function listReleased (job)
  if context.stallAfter then call('ZADD', base .. 'released', time() + context.stallAfter, released(job)) end
end

-- The store may have lost a change of the owner.
local function disownAll ()
  loadRunning()
  for at = 1, #running do
    local job = running[at]
    local owner = job[OWNER]
    job[OWNER], job[REPORTS] = false, job[REPORTS] + 1
    if owner then call('SREM', base .. 'own:' .. owner, listed(job[ID])) end
    listReleased(job)
  end
end

local function newEpoch ()
  local now = call('TIME')
  return string.format('%s%x%05x', context.genPrefix, now[1], now[2])
end

-- Chooses a stream. The metadata's key ends with \`m:\` and its name.
local function choose (ofStream, ofMeta)
  stream, metaKey, base = ofStream, ofMeta, sub(ofMeta, 1, -#ofStream - 3)
  listKey, jobsKey, running, ended, isChanged = nil, nil, nil, nil, false
  -- Once is enough: all buckets of a server have the same generation.
  if isCurrent then return end
  if call('GET', base .. 'gen') ~= context.gen then error({err = OUTDATED}) end
  isCurrent = true
end

-- Reads the stream. It begins anew if it is unknown, and with a new epoch if it is of an earlier incarnation of the store.
local function openStream ()
  raw = call('GET', metaKey)
  if not raw then
    call('DEL', nameList(), nameJobs())
    epoch, seq, rev, bytes, previous, jobsAt, isChanged = newEpoch(), 0, 0, 0, '', -1, true
    return
  end
  jobsAt, epoch, seq, rev, bytes, previous = unpackSome(raw, META_FIELDS, 0)
  if sub(epoch, 1, context.genLength) == context.genPrefix then return end
  local survived = {epoch, seq}
  local earlier = previous == '' and {} or unpackAll(previous)
  for at = 1, min(#earlier, 2 * (MAX_PREVIOUS - 1)), 2 do
    survived[at + 2] = earlier[at]
    survived[at + 3] = min(earlier[at + 1], seq)
  end
  epoch, previous, isChanged = newEpoch(), pack(survived), true
  disownAll()
end

local function packedStream ()
  if not running then
    local packed = pack(epoch, seq, rev, bytes, previous)
    return jobsAt < 0 and packed or packed .. sub(raw, jobsAt + 1)
  end
  if #running == 1 then return pack(epoch, seq, rev, bytes, previous, values(running[1], 1, JOB_FIELDS)) end
  return pack(epoch, seq, rev, bytes, previous) .. packedJobs(running)
end

-- Returns the revision and the size of a kept frame.
local function parse (kept)
  local ofFrame, size = string.match(kept, '^%S+ (%d+) %d+ (%d+)')
  return number(ofFrame), number(size)
end
`

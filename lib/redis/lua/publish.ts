import { KEPT } from './kept.js'
import { REPORTS } from './reports.js'

/**
 * Publishes messages, each as if it were published alone: a message that is refused or fails does not affect the others.
 *
 * KEYS: metadata of each stream, as often as the stream is named.
 *
 * ARGV: 1 settings of the node, see `contextOf`, then streams and their messages. Each begins with a letter:
 *
 * - `g`, stream: the stream of the messages that follow.
 * - `r`: this node has not renewed the lifetimes of the stream's keys for a while. Stands after the stream.
 * - `k`, counter: the counter of the message that follows.
 * - `i`, key, request: the idempotency key of the message that follows, after its counter.
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
 * was dropped or `-`, job id. It begins with `*` if the message was published before with the same key. A message that failed has `!`
 * and an error.
 *
 * Frequent paths create few strings and tables, and call few commands: see `test/bench/redis`.
 */
export const PUBLISH = `
local MAX_ENDED = 32
-- Results that a node may ask for again.
local RING = 128
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
${KEPT}
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
${REPORTS}
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


-- Publishes the message at \`at\`.
local function publishMessage (first)
  if event == 'd' then return publishDurable(number(args[first + 1]), args[first + 2]) end
  if event == 'n' then return publishDurable(nil, args[first + 1]) end
  if event == 'e' then return publishEphemeral(args[first + 1]) end
  return report()
end

-- The result is kept behind the request. Neither a key nor a request contains a space.
local function publishKeyed (first, id, request)
  local keyKey = base .. 'k:' .. id .. ' ' .. stream
  local used = call('GET', keyKey)
  if used then
    local gap = string.find(used, ' ', 1, true)
    local known = sub(used, gap + 1)
    if sub(used, 1, gap - 1) == request then return '*' .. known end
    local ofEpoch, ofSeq = string.match(known, '^(%S+) %d+ (%d+)')
    return ofEpoch .. ' 0 ' .. ofSeq .. ' 1 -1 reused '
  end
  local published = publishMessage(first)
  -- Without a reason, or with \`-\`, it was accepted. The text of a late progress may be kept.
  local dropped = string.match(published, '^%S+ %d+ %d+ %d %S+ (%l+)')
  if not dropped or dropped == 'ended' and event == 'p' then call('SET', keyKey, request .. ' ' .. published, 'PX', '600000') end
  return published
end

local function publishFirst (first, id, request)
  if id then return publishKeyed(first, id, request) end
  return publishMessage(first)
end

local function publishOnce (first, counter, id, request)
  -- Results are in a ring: that of a counter replaces the one of RING counters before. Redis may execute the first attempt after its
  -- repetition, if that came on another connection, and ends are repeated in any order. So each publication looks.
  local place, prefix = number(counter) % RING, counter .. ' '
  local known = call('HGET', resultsKey(), place)
  if known and sub(known, 1, #prefix) == prefix then return sub(known, #prefix + 1) end
  local published = publishFirst(first, id, request)
  call('HSET', resultsKey(), place, prefix .. published)
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
  local counter, id, request
  if args[at] == 'k' then counter, at = args[at + 1], at + 2 end
  if args[at] == 'i' then id, request, at = args[at + 1], args[at + 2], at + 3 end
  local first = at
  event = args[at]
  if event == 'd' then at = at + 3 elseif event == 'n' or event == 'e' then at = at + 2 else readReport() end
  if failure then error(failure) end
  if counter then return publishOnce(first, counter, id, request) end
  return publishFirst(first, id, request)
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

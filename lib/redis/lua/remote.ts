import { aiErrorTypes } from '../../protocol/codes.js'
import { reservedTypes } from '../../protocol/messages.js'
import { MAX_BYTES_PER_BYTE, MAX_OVERHEAD_BYTES } from '../../streams/kept-publication.js'
import { BUCKETS } from '../keys.js'

const names = (values: readonly string[]): string => `{${values.map((value) => `${value} = true`).join(', ')}}`
const retryable = (expected: boolean): string[] => Object.entries(aiErrorTypes).filter(([, info]) => info.retryable === expected).map(([type]) => type)

/**
 * Publishes for a worker that has no node: a program in another language. It is the one function that others than this package call, so
 * \`lib/redis/README.md\` documents it, and it checks its arguments. It writes the same messages as \`lib/manager/notifier.ts\`.
 *
 * KEYS: metadata.
 *
 * ARGV: 1 settings from the hash \`remote\`, 2 stream, 3 type (\`ai_start\`, \`ai_progress\`, \`ai_complete\`, \`ai_error\`, \`message\` or
 * \`ephemeral\`), 4 JSON of the task, progress, result, error or message, 5 job id, 6 delta in UTF-16LE, 7 number of UTF-16 units that came
 * before, 8 idempotency key. The last four may be empty or absent.
 *
 * Returns: a receipt as JSON. No node owns the job after it: if no other report follows in time, the job is orphaned.
 */
export const REMOTE = `
-- The most bytes of a JSON or of a delta, so that no call blocks Redis for long, and of characters of an id.
local MAX_BYTES, MAX_ID = 131072, 256
local EVENTS = {ai_start = 's', ai_progress = 'p', ai_complete = 'c', ai_error = 'x'}
local PARTS = {ai_start = 'task', ai_progress = 'progress', ai_complete = 'result', ai_error = 'error'}
local IS_RETRYABLE, IS_FINAL = ${names(retryable(true))}, ${names(retryable(false))}
local IS_RESERVED = ${names([...reservedTypes])}
local SERVER_FIELDS = {'seq', 'userSeq', 'epoch', 'replayed', 'timestamp', 'sessionId'}
-- Refuses numbers that JSON does not have. Created in the first call.
local json

local function refuse (why)
  error({err = 'AICWARG ' .. why})
end

-- Values ----------------------------------------------------------------------------------------------------------------------

-- Calls \`visit\` with each character of a text. Returns false if the text is no UTF-8.
local function eachCharacter (text, visit)
  local at = 1
  while at <= #text do
    local lead = byte(text, at)
    local code, more, least = lead, 0, 0
    if lead >= 0xf0 then code, more, least = lead - 0xf0, 3, 0x10000
    elseif lead >= 0xe0 then code, more, least = lead - 0xe0, 2, 0x800
    elseif lead >= 0xc0 then code, more, least = lead - 0xc0, 1, 0x80
    elseif lead >= 0x80 then return false
    end
    for n = at + 1, at + more do
      local next = byte(text, n)
      if not next or next < 0x80 or next > 0xbf then return false end
      code = code * 64 + next - 0x80
    end
    if code < least or code > 0x10ffff or (code >= 0xd800 and code <= 0xdfff) then return false end
    visit(code)
    at = at + more + 1
  end
  return true
end

local function checkId (name, id)
  local count, isPrintable = 0, true
  local isText = #id <= 4 * MAX_ID and eachCharacter(id, function (code)
    count = count + 1
    if code < 0x20 or (code >= 0x7f and code < 0xa0) then isPrintable = false end
  end)
  if not isText or not isPrintable or count < 1 or count > MAX_ID then
    refuse('the ' .. name .. ' must be 1 to ' .. MAX_ID .. ' characters in UTF-8, none of them a control character')
  end
end

-- As \`bucketOf\` in \`lib/redis/keys.ts\`.
local function bucketOf (name)
  local hash = 0x811c9dc5
  local function add (unit)
    hash = bit.bxor(hash, unit) % 4294967296
    hash = (hash * 403 + hash % 256 * 16777216) % 4294967296
  end
  eachCharacter(name, function (code)
    if code < 0x10000 then return add(code) end
    add(0xd800 + math.floor((code - 0x10000) / 1024))
    add(0xdc00 + code % 1024)
  end)
  return hash % ${BUCKETS}
end

local function checkKey (name, key)
  local ending = '{b' .. bucketOf(name) .. '}m:' .. name
  if sub(key, -#ending) ~= ending then refuse('the key of ' .. name .. ' ends with ' .. ending) end
end

-- Returns whether a number begins or ends with a point, which the decoder accepts. Most texts contain no point that looks like it.
local function hasOddNumber (text)
  if not string.find(text, '.', 1, true) then return false end
  if not string.find(text, '-.', 1, true) and not string.find(text, '%d%.[^%d"]') then return false end
  local withoutStrings = string.gsub(string.gsub(text, '\\\\.', ''), '"[^"]*"', '')
  return string.find(withoutStrings, '-.', 1, true) or string.find(withoutStrings, '%.%D')
end

-- Returns the object, and its JSON.
local function readObject (name, text)
  if #text > MAX_BYTES then refuse('the ' .. name .. ' is longer than ' .. MAX_BYTES .. ' bytes: store it elsewhere, and send where it is') end
  if sub(text, 1, 1) ~= '{' or sub(text, -1) ~= '}' then refuse('the ' .. name .. ' must be a JSON object, without anything around it') end
  -- Much quicker than a pattern.
  for code = 0, 31 do
    if string.find(text, string.char(code), 1, true) then refuse('the ' .. name .. ' must be JSON in one line, without control characters') end
  end
  local isOk, object = pcall(json.decode, text)
  if not isOk then refuse('the ' .. name .. ' is no JSON: ' .. tostring(object)) end
  if hasOddNumber(text) then refuse('the ' .. name .. ' is no JSON: a number begins or ends with a point') end
  -- What is added to an empty object looks for this form.
  return object, next(object) == nil and '{}' or text
end

local function withFields (text, fields)
  return sub(text, 1, -2) .. (text == '{}' and '' or ',') .. fields .. '}'
end

-- The date of the latest call, because a day has many.
local latestDay, latestDate

local function dateOf (day)
  if day == latestDay then return latestDate end
  local rest, year, month = day, 1970, 1
  local function isLeap () return year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0) end
  while rest >= (isLeap() and 366 or 365) do
    rest, year = rest - (isLeap() and 366 or 365), year + 1
  end
  local days = {31, isLeap() and 29 or 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}
  while rest >= days[month] do
    rest, month = rest - days[month], month + 1
  end
  latestDay, latestDate = day, string.format('%04d-%02d-%02d', year, month, rest + 1)
  return latestDate
end

local function timestamp ()
  local now = time()
  local ofDay = now % 86400000
  local function part (ms, count) return math.floor(ofDay / ms) % count end
  return string.format('%sT%02d:%02d:%02d.%03dZ', dateOf(math.floor(now / 86400000)), part(3600000, 24), part(60000, 60), part(1000, 60), ofDay % 1000)
end

-- Messages --------------------------------------------------------------------------------------------------------------------

local function checkError (object)
  for _, name in ipairs({'message', 'type'}) do
    if type(object[name]) ~= 'string' then refuse('the error must have a "' .. name .. '", a string') end
  end
  if object.retryable ~= nil and type(object.retryable) ~= 'boolean' then refuse('"retryable" of the error must be true or false') end
end

local function checkDelta (delta)
  if #delta % 2 ~= 0 then refuse('the delta must be in UTF-16LE') end
  if #delta > MAX_BYTES then refuse('the delta is longer than ' .. MAX_BYTES / 2 .. ' UTF-16 units: send it in pieces') end
end

local function checkOffset (offset)
  if offset ~= '' and not string.match(offset, '^%d%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?$') then refuse('the offset must be an integer, the number of UTF-16 units that came before') end
end

-- Returns the arguments of a report on a job, see \`publish\`.
local function reportOf (kind, text, session, id, delta, offset)
  checkId('job id', id)
  local part, isProgress = PARTS[kind], kind == 'ai_progress'
  local object, content = readObject(part, text)
  if kind == 'ai_error' then
    checkError(object)
    if object.retryable == nil and (IS_RETRYABLE[object.type] or IS_FINAL[object.type]) then
      content = withFields(content, '"retryable":' .. (IS_RETRYABLE[object.type] and 'true' or 'false'))
    end
  end
  if isProgress then
    if object.delta ~= nil or object.offset ~= nil then refuse('the progress must not have a "delta" or an "offset": pass them as arguments of their own') end
    checkDelta(delta)
  elseif delta ~= '' then
    refuse('only an ai_progress has a delta')
  end
  checkOffset(offset)
  local body = '{"type":"' .. kind .. '","sessionId":' .. json.encode(session) .. ',"' .. part .. '":' .. content .. ',"timestamp":"' .. timestamp() .. '"}'
  local chunks = object[isProgress and 'chunksReceived' or 'chunks']
  local isCount = type(chunks) == 'number' and chunks >= 0 and chunks < 2 ^ 53
  local report = {
    EVENTS[kind], '0001' .. (delta ~= '' and '1' or '0') .. (isProgress and '0' or '1') .. '10', id,
    isCount and string.format('%.17g', chunks) or '', offset, delta, body
  }
  if not isProgress then report[#report + 1] = ${MAX_OVERHEAD_BYTES} + ${MAX_BYTES_PER_BYTE} * #body + 3 * #id end
  return report
end

-- Returns the arguments of a message of the app's own.
local function messageFor (kind, text, name, session)
  local object, content = readObject('message', text)
  if type(object.type) ~= 'string' or object.type == '' then refuse('the message must have a "type", a string') end
  if IS_RESERVED[object.type] then refuse('the type "' .. object.type .. '" is reserved: report on a job with the argument ' .. object.type .. ', or choose another type') end
  for _, field in ipairs(SERVER_FIELDS) do
    if object[field] ~= nil then refuse('the field "' .. field .. '" of a message is reserved for the server: leave it out, or rename it') end
  end
  local body = withFields(content, (session and '"sessionId":' .. json.encode(session) .. ',' or '') .. '"timestamp":"' .. timestamp() .. '"')
  if kind == 'ephemeral' or name == 'all' or object.type == 'batch_update' then return {'e', ' 0 0 0\\n' .. body} end
  local size = ${MAX_OVERHEAD_BYTES} + ${MAX_BYTES_PER_BYTE} * #body
  local frame = ' ' .. size .. ' 1 0\\n' .. body
  if size > context.maxBytes then return {'n', frame} end
  return {'d', size, frame}
end

local function receiptOf (published, key)
  if sub(published, 1, 1) == '!' then error({err = sub(published, 2)}) end
  local mark, ofEpoch, ofSeq, rest = string.match(published, '^(%*?)(%S+) %d+ (%d+) ?(.*)$')
  local kept, textEnd, dropped, id = string.match(rest, '^(%d) (%S+) (%S+) (.*)$')
  if dropped == 'reused' then refuse('another request has used the idempotency key ' .. key .. ': give each request a key of its own') end
  local receipt = {epoch = ofEpoch, seq = number(ofSeq)}
  if mark == '*' then receipt.repeated = true end
  if kept == '0' then receipt.kept = false end
  if dropped and dropped ~= '-' then receipt.dropped = dropped end
  if textEnd and textEnd ~= '-1' then receipt.textEnd = number(textEnd) end
  if id and id ~= '' then receipt.jobId = id end
  return json.encode(receipt)
end

local function publishRemote (keys, argv)
  if #keys ~= 1 or #argv < 4 then refuse('the arguments are 1, the key, the settings, the stream, the type and its JSON; then, if needed, job id, delta, offset and idempotency key') end
  local settings, name, kind, text = argv[1], argv[2], argv[3], argv[4]
  local id, delta, offset, key = argv[5] or '', argv[6] or '', argv[7] or '', argv[8] or ''
  if not string.match(settings, '^%S+ %- %S+ %d+ %d+ %d+ %d+ %d+ %S+$') then refuse('the settings must be those of the hash that ends with {ctl}remote') end
  enter(settings)
  if not json then
    json = cjson.new()
    json.decode_invalid_numbers(false)
  end
  local target, targetId = string.match(name, '^(%l+):(.*)$')
  if target == 'session' or target == 'user' then
    checkId(target .. ' id', targetId)
  elseif name ~= 'all' then
    refuse('the stream must be session:<id>, user:<id> or all')
  end
  checkKey(name, keys[1])
  if not string.match(key, '^[!-~]*$') or #key > 256 then refuse('the idempotency key must be at most 256 visible ASCII characters') end
  local session = target == 'session' and targetId or nil
  local message
  if EVENTS[kind] then
    if not session then refuse('a report on a job goes to session:<id>') end
    message = reportOf(kind, text, session, id, delta, offset)
  elseif kind == 'message' or kind == 'ephemeral' then
    if id ~= '' or delta ~= '' or offset ~= '' then refuse('only reports on jobs have a job id, a delta or an offset') end
    message = messageFor(kind, text, name, session)
  else
    refuse('the type must be ai_start, ai_progress, ai_complete, ai_error, message or ephemeral')
  end
  local args = {settings, 'g', name, 'r'}
  if key ~= '' then
    args[5], args[6] = 'i', key
    args[7] = redis.sha1hex(table.concat({kind, #text, #id, #delta, offset, id, text, delta}, ' '))
  end
  for n = 1, #message do args[#args + 1] = message[n] end
  return receiptOf(functions.publish(keys, args), key)
end

-- An error that is thrown may begin with the number of a line.
functions.remote = function (keys, argv)
  local isOk, result = pcall(publishRemote, keys, argv)
  if isOk then return result end
  local message = string.gsub(type(result) == 'table' and result.err or tostring(result), '^user_function:%d+: ', '')
  return redis.error_reply(message)
end
`

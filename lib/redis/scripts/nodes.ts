import { STATE } from './state.js'

/**
 * Begins a generation if the store has lost history: it is empty, or another Redis process, which may lack its newest data.
 *
 * KEYS: generation, then those of all buckets. ARGV: 1 run_id of the Redis process, 2 name of a new generation.
 *
 * Returns: generation, 1 if it is new.
 */
export const HELLO = `
local known = redis.call('GET', KEYS[1])
local gen, run = string.match(known or '', '^(%S+) (%S+)$')
local isSame = gen and run == ARGV[1]
if isSame then
  for at = 2, #KEYS do
    if redis.call('GET', KEYS[at]) ~= gen then isSame = false end
  end
end
if isSame then return {gen, 0} end
redis.call('SET', KEYS[1], ARGV[2] .. ' ' .. ARGV[1])
for at = 2, #KEYS do redis.call('SET', KEYS[at], ARGV[2]) end
return {ARGV[2], 1}
`

/**
 * Renews the lease of a node, or ends it. One node looks for the jobs of dead nodes, until it dies itself.
 *
 * KEYS: nodes, check. ARGV: 1 node, 2 duration of the lease in ms (0 ends it), 3 interval of the checks in ms.
 *
 * Returns: living nodes, nodes whose lease has expired, 1 if this node should look for their jobs.
 */
export const LEASE = `
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZADD', KEYS[1], ARGV[2] == '0' and 0 or now + tonumber(ARGV[2]), ARGV[1])
local living = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf')
local expired = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)
local checker = redis.call('GET', KEYS[2])
local isChecker = ARGV[2] ~= '0' and (not checker or checker == ARGV[1])
if isChecker then redis.call('SET', KEYS[2], ARGV[1], 'PX', 2 * tonumber(ARGV[3])) end
return {living, expired, isChecker and 1 or 0}
`

/**
 * Writes a revocation to the log, and sends it to all nodes.
 *
 * KEYS: log, nodes. ARGV: 1 control channel, 2 message, 3 lifetime of an entry in ms.
 *
 * Returns: living nodes.
 */
export const REVOKE = `
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('XADD', KEYS[1], 'MINID', '~', now - tonumber(ARGV[3]), '*', 'm', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PUBLISH', ARGV[1], ARGV[2])
return redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. now, '+inf')
`

/**
 * Returns the running jobs of one bucket that no living node runs.
 *
 * KEYS: generation of the bucket, released. ARGV: 1 base, 2 generation, 3 most jobs to return, then the dead nodes.
 *
 * Returns: 1 if there may be more, then stream, job id and ownership of each.
 */
export const ORPHANS = `${STATE}
local base, gen, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
if call('GET', KEYS[1]) ~= gen then return outdated() end
local result = {0}
local function add (stream, id, isOrphan)
  local job = find(unpacked(call('HGET', base .. 'j:' .. stream, 'r')), id)
  if not job or not isOrphan(job) then return false end
  for _, value in ipairs({stream, id, ownershipOf(job)}) do result[#result + 1] = value end
  return true
end
for at = 4, #ARGV do
  local key = base .. 'own:' .. ARGV[at]
  for _, entry in ipairs(call('SRANDMEMBER', key, most)) do
    local item = cmsgpack.unpack(entry)
    if add(item[1], item[2], function (job) return job[OWNER] == ARGV[at] end) then result[1] = 1 else call('SREM', key, entry) end
  end
end
for _, entry in ipairs(call('ZRANGEBYSCORE', KEYS[2], '-inf', time(), 'LIMIT', 0, most)) do
  local item = cmsgpack.unpack(entry)
  if not add(item[1], item[2], function (job) return ownershipOf(job) == item[3] end) then call('ZREM', KEYS[2], entry) end
end
return result
`

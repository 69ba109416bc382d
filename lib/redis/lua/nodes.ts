/**
 * Begins a generation if the store has lost history: it is empty, or another Redis process, which may lack its newest data. Writes down
 * what workers without a node need to call \`remote\`.
 *
 * KEYS: hash for workers, generation, then those of all buckets. ARGV: 1 run_id of the Redis process, 2 name of a new generation, 3 name of
 * the function, 4 its settings without the generation, 5 0 for a publisher, whose settings are only written if there are none.
 *
 * Returns: generation, 1 if it is new.
 */
export const HELLO = `
functions.hello = function (keys, argv)
  enter()
  local known = call('GET', keys[2])
  local gen, run = string.match(known or '', '^(%S+) (%S+)$')
  local isSame = gen and run == argv[1]
  for at = 3, #keys do
    if not isSame then break end
    isSame = call('GET', keys[at]) == gen
  end
  if not isSame then
    gen = argv[2]
    call('SET', keys[2], gen .. ' ' .. argv[1])
    for at = 3, #keys do call('SET', keys[at], gen) end
  end
  if argv[5] == '1' or not isSame or call('EXISTS', keys[1]) == 0 then call('HSET', keys[1], 'function', argv[3], 'settings', gen .. ' ' .. argv[4]) end
  return {gen, isSame and 0 or 1}
end
`

/**
 * Renews the lease of a node, or ends it. One node looks for the jobs of dead nodes, until it dies itself.
 *
 * KEYS: nodes, check, hash for workers. ARGV: 1 node, 2 duration of the lease in ms (0 ends it), 3 interval of the checks in ms; then, unless
 * they must not replace others, 4 name of the function for workers, 5 its settings. They are written each time, so that the hash never names
 * the functions of nodes that are gone.
 *
 * Returns: living nodes, nodes whose lease has expired, 1 if this node should look for their jobs.
 */
export const LEASE = `
functions.lease = function (keys, argv)
  enter()
  local now = call('TIME')
  now = now[1] * 1000 + math.floor(now[2] / 1000)
  call('ZADD', keys[1], argv[2] == '0' and 0 or now + number(argv[2]), argv[1])
  local living = call('ZRANGEBYSCORE', keys[1], '(' .. now, '+inf')
  local expired = call('ZRANGEBYSCORE', keys[1], '-inf', now)
  local checker = call('GET', keys[2])
  local isChecker = argv[2] ~= '0' and (not checker or checker == argv[1])
  if isChecker then call('SET', keys[2], argv[1], 'PX', 2 * number(argv[3])) end
  if argv[4] then call('HSET', keys[3], 'function', argv[4], 'settings', argv[5]) end
  return {living, expired, isChecker and 1 or 0}
end
`

/**
 * Writes a revocation to the log, and sends it to all nodes.
 *
 * KEYS: log, nodes. ARGV: 1 control channel, 2 message, 3 lifetime of an entry in ms.
 *
 * Returns: living nodes.
 */
export const REVOKE = `
functions.revoke = function (keys, argv)
  enter()
  local now = call('TIME')
  now = now[1] * 1000 + math.floor(now[2] / 1000)
  call('XADD', keys[1], 'MINID', '~', now - number(argv[3]), '*', 'm', argv[2])
  call('PEXPIRE', keys[1], argv[3])
  call('PUBLISH', argv[1], argv[2])
  return call('ZRANGEBYSCORE', keys[2], '(' .. now, '+inf')
end
`

/**
 * Returns the running jobs of one bucket that no living node runs.
 *
 * KEYS: generation of the bucket, released. ARGV: 1 base, 2 generation, 3 most jobs to return, then the dead nodes.
 *
 * Returns: 1 if there may be more, then an array for each: stream, job id and ownership.
 */
export const ORPHANS = `
functions.orphans = function (keys, argv)
  enter()
  local base, gen, most = argv[1], argv[2], number(argv[3])
  if call('GET', keys[1]) ~= gen then return redis.error_reply(OUTDATED) end
  local result = {0}
  local function add (stream, id, isOrphan)
    local raw = call('GET', base .. 'm:' .. stream)
    local job = raw and find(unpackedJobs(raw, (unpackSome(raw, META_FIELDS, 0))), id)
    if not job or not isOrphan(job) then return false end
    result[#result + 1] = {stream, id, ownershipOf(job)}
    return true
  end
  for at = 4, #argv do
    local key = base .. 'own:' .. argv[at]
    for _, entry in ipairs(call('SRANDMEMBER', key, most)) do
      local item = unpackAll(entry)
      if add(item[1], item[2], function (job) return job[OWNER] == argv[at] end) then result[1] = 1 else call('SREM', key, entry) end
    end
  end
  for _, entry in ipairs(call('ZRANGEBYSCORE', keys[2], '-inf', time(), 'LIMIT', 0, most)) do
    local item = unpackAll(entry)
    if not add(item[1], item[2], function (job) return ownershipOf(job) == item[3] end) then call('ZREM', keys[2], entry) end
  end
  return result
end
`

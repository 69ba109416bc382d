/**
 * Reads or changes the owner of a job.
 *
 * KEYS: metadata.
 *
 * ARGV: 1 settings of the node, 2 stream, 3 `current`, `owner`, `adopt` or `release`, 4 job id.
 *
 * Returns: with `current` the id of the newest running job, with `owner` the name of the owner, both null if there is none. Otherwise
 * 1 or 0.
 */
export const OWNER_OF_JOB = `
functions.owner = function (keys, argv)
  local operation, id = argv[3], argv[4]
  enter(argv[1])
  choose(argv[2], keys[1])
  -- A stream that nobody has published to has no jobs, and need not begin.
  if call('EXISTS', metaKey) == 1 then
    openStream()
    loadRunning()
    if isChanged then call('SET', metaKey, packedStream(), 'KEEPTTL') end
  else
    running = {}
  end
  if operation == 'current' then return #running > 0 and running[#running][ID] or false end
  local job = find(running, id)
  if operation == 'owner' then return job and job[OWNER] or false end
  local node = context.node
  if not job or (operation == 'release' and job[OWNER] ~= node) then return 0 end

  local owner = job[OWNER]
  job[REPORTS] = job[REPORTS] + 1
  if owner then call('SREM', base .. 'own:' .. owner, listed(id)) end
  if operation == 'adopt' then
    job[OWNER] = node
    call('SADD', base .. 'own:' .. node, listed(id))
    call('PEXPIRE', base .. 'own:' .. node, context.endTtl)
    if owner and owner ~= node then call('PUBLISH', context.channels .. owner, cjson.encode({type = 'disowned', stream = stream, jobId = id})) end
  else
    job[OWNER] = false
    listReleased(job)
  end
  call('SET', metaKey, packedStream(), 'KEEPTTL')
  return 1
end
`

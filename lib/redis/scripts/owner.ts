import { STATE } from './state.js'

/**
 * Reads or changes the owner of a job.
 *
 * KEYS: generation of the bucket, jobs.
 *
 * ARGV: 1 base, 2 stream, 3 generation, 4 node, 5 `current`, `owner`, `adopt` or `release`, 6 job id, 7 stallAfterMs, 8 endTtlMs,
 * 9 what channels of nodes begin with.
 *
 * Returns: with `current` the id of the newest running job, with `owner` the name of the owner, both null if there is none. Otherwise
 * 1 or 0.
 */
export const OWNER_OF_JOB = `${STATE}
local base, stream, gen, node, operation, id = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
if call('GET', KEYS[1]) ~= gen then return outdated() end
local running = unpacked(call('HGET', KEYS[2], 'r'))
if operation == 'current' then return #running > 0 and running[#running][ID] or false end
local job = find(running, id)
if operation == 'owner' then return job and job[OWNER] or false end
if not job or (operation == 'release' and job[OWNER] ~= node) then return 0 end

local owner = job[OWNER]
job[REPORTS] = job[REPORTS] + 1
if owner then call('SREM', base .. 'own:' .. owner, listed(stream, id)) end
if operation == 'adopt' then
  job[OWNER] = node
  call('SADD', base .. 'own:' .. node, listed(stream, id))
  call('PEXPIRE', base .. 'own:' .. node, ARGV[8])
  if owner and owner ~= node then call('PUBLISH', ARGV[9] .. owner, cjson.encode({type = 'disowned', stream = stream, jobId = id})) end
else
  job[OWNER] = false
  -- Without a stall timeout, it waits for as long as it takes.
  if ARGV[7] ~= '' then call('ZADD', base .. 'released', time() + tonumber(ARGV[7]), cmsgpack.pack({stream, id, ownershipOf(job)})) end
end
call('HSET', KEYS[2], 'r', cmsgpack.pack(running))
return 1
`

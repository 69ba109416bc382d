import type { Logger } from '../util/logger.js'
import type { Store } from './store.js'

const MIN_VERSION = 7
/** Others evict the state of running jobs, or anything else. */
const POLICIES = ['noeviction', 'volatile-ttl']

/** Throws if this Redis can't keep the promises of the broker. The error names the fix. */
export async function checkServer (store: Store, log: Logger): Promise<void> {
  const version = field(await store.info('server'), 'redis_version')
  if (version !== undefined && Number.parseInt(version) < MIN_VERSION) {
    throw new Error(`ai-canvas-ws/redis needs Redis ${MIN_VERSION} or later, or Valkey, but the server has version ${version}: upgrade it`)
  }
  const memory = await store.info('memory')
  const policy = field(memory, 'maxmemory_policy')
  if (policy !== undefined && !POLICIES.includes(policy)) {
    throw new Error(`ai-canvas-ws/redis needs the maxmemory-policy ${POLICIES.join(' or ')}, but the server has "${policy}", which evicts the state of running jobs: ` +
      'run "CONFIG SET maxmemory-policy volatile-ttl", and set it in redis.conf')
  }
  if (field(memory, 'maxmemory') === '0') log.info({}, 'Redis has no maxmemory: it may take all memory of its machine')
}

function field (info: string, name: string): string | undefined {
  return new RegExp(`^${name}:(\\S+)`, 'm').exec(info)?.[1]
}

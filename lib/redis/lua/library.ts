import { createHash } from 'node:crypto'
import { JOIN } from './join.js'
import { HELLO, LEASE, ORPHANS, REVOKE } from './nodes.js'
import { OWNER_OF_JOB } from './owner.js'
import { PUBLISH } from './publish.js'
import { REMOTE } from './remote.js'
import { STATE } from './state.js'

const FUNCTIONS = ['publish', 'join', 'messages', 'text', 'owner', 'hello', 'lease', 'revoke', 'orphans', 'remote'] as const
type FunctionName = typeof FUNCTIONS[number]

const block = (code: string): string => `do${code}end\n`
const body = `${STATE}
local functions = {}
${[PUBLISH, JOIN, OWNER_OF_JOB, HELLO, LEASE, REVOKE, ORPHANS, REMOTE].map(block).join('')}`

/**
 * The name contains the version of the schema and a hash of the source, so that old and new nodes can share a Redis during a rolling
 * deploy: each version has a library of its own.
 */
const NAME = `aicw_1_${createHash('sha1').update(body).digest('hex').slice(0, 10)}`

/**
 * The functions that Redis executes for the broker, as the source of a library.
 *
 * They are a library and no scripts, because a script creates its local functions anew in each call: the same source as a script took four
 * times the CPU in a call with one message, and a tenth more in a call with 25.
 */
export const LIBRARY = `#!lua name=${NAME}\n${body}${FUNCTIONS.map((name) => `redis.register_function('${functionName(name)}', functions.${name})\n`).join('')}`

/** Returns the name of a function in Redis. Names are unique among all libraries. */
export function functionName (name: FunctionName): string {
  return `${NAME}_${name}`
}

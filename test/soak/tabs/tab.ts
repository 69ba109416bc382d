import { Value } from '@sinclair/typebox/value'
import { reservedTypes, ServerMessage } from '../../../lib/protocol/messages.js'
import type { Message } from '../../support/ws-client.js'
import type { Line } from '../line.js'
import type { Ledger } from '../ledger.js'
import type { Random } from '../random.js'
import type { Journal } from '../soak-failure.js'

export interface TabOptions {
  readonly name: string
  readonly userId: string
  readonly line: Line
  readonly random: Random
  readonly journal: Journal
  readonly ledger: Ledger
  /** The sessions that the tab follows from its beginning. */
  readonly sessions: readonly string[]
}

/** The end of each stream, by its name: `session:<id>` or `user:<id>`. */
export type Heads = ReadonlyMap<string, { readonly epoch: string, readonly seq: number }>

/** One browser tab of one user, with its own line. */
export interface Tab {
  readonly name: string
  readonly userId: string
  readonly line: Line
  readonly subscriptions: readonly string[]
  follow (sessionId: string): void
  leave (sessionId: string): void
  /** Subscribes again to a session that it already follows. */
  askAgain (sessionId: string): void
  cancel (sessionId: string): void
  /** Subscribes to a session that it may not read. The server must refuse it. */
  trespass (sessionId: string): void
  /** Reads nothing for a while. */
  pause (ms: number): void
  /** Returns a description of what the tab still lacks. Undefined if it has received everything that it may read. */
  missing (heads: Heads): string | undefined
  close (): void
}

const OWN_TYPES = new Set(['note', 'weather', 'cursor', 'batch_update'])

/**
 * Returns the part of a message that the server writes, for an app that passes values that its types forbid. Only this part is
 * checked against the schemas: the server forwards the rest of the app's own objects unchanged.
 */
function ofServer ({ task, result, progress, ...message }: Message): object {
  const { delta, offset, truncated } = (progress ?? {}) as Record<string, unknown>
  return {
    ...message,
    ...(isObject(task) && { task: {} }),
    ...(isObject(result) && { result: {} }),
    ...(isObject(progress) && { progress: { ...(delta !== undefined && { delta }), ...(offset !== undefined && { offset }), ...(truncated !== undefined && { truncated }) } })
  }
}

function isObject (value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Parses a message of the server. It must match the protocol's schemas, and its type must be one that the app sends. */
export function readMessage (text: string, journal: Journal, ownTypes: ReadonlySet<string> | 'any' = OWN_TYPES): Message {
  const message = JSON.parse(text) as Message
  const isProtocol = reservedTypes.has(message.type) || message.type === 'batch_update'
  if (isProtocol ? !Value.Check(ServerMessage, ownTypes === 'any' ? ofServer(message) : message) : ownTypes !== 'any' && !ownTypes.has(message.type)) {
    journal.fail('the server sends what the protocol\'s schemas allow', text.slice(0, 600))
  }
  return message
}

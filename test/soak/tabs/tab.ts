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
  /** The sessions that it follows from its beginning. */
  readonly sessions: readonly string[]
}

/** Where each stream ends, by its name: `session:<id>` or `user:<id>`. */
export type Heads = ReadonlyMap<string, { readonly epoch: string, readonly seq: number }>

/** One browser tab of one user, behind a line of its own. */
export interface Tab {
  readonly name: string
  readonly userId: string
  readonly line: Line
  readonly subscriptions: readonly string[]
  follow (sessionId: string): void
  leave (sessionId: string): void
  /** Asks again for a session that it follows. */
  askAgain (sessionId: string): void
  cancel (sessionId: string): void
  /** Subscribes to a session that it may not read: refused is the only answer. */
  trespass (sessionId: string): void
  /** Reads nothing for a while. */
  pause (ms: number): void
  /** What it still lacks, in words. Undefined when it knows everything that it may know. */
  missing (heads: Heads): string | undefined
  close (): void
}

const OWN_TYPES = new Set(['note', 'weather', 'cursor', 'batch_update'])

/**
 * A message of an app that gives values which its types forbid. Of the app's own objects only what the server writes is held
 * against the schemas: the rest goes through as the app gave it.
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

/** Parses what the server sent. A message outside of the protocol's schemas is a fault, and so is a type that the app never sent. */
export function readMessage (text: string, journal: Journal, ownTypes: ReadonlySet<string> | 'any' = OWN_TYPES): Message {
  const message = JSON.parse(text) as Message
  const isProtocol = reservedTypes.has(message.type) || message.type === 'batch_update'
  if (isProtocol ? !Value.Check(ServerMessage, ownTypes === 'any' ? ofServer(message) : message) : ownTypes !== 'any' && !ownTypes.has(message.type)) {
    journal.fail('the server sends what the protocol\'s schemas allow', text.slice(0, 600))
  }
  return message
}

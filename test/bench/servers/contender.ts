import { randomUUID } from 'node:crypto'
import type { Body } from '../payload.js'

/** A way to deliver messages to sockets. Each runs in a process of its own, with the same harness: `process.ts`. */
export interface Contender {
  /** Listens on 127.0.0.1 and returns the port. */
  listen (): Promise<number>
  /** Sends a message to all subscribers of the session: progress, or one that must not be merged. */
  publish (sessionId: string, kind: Kind, body: Body): void
  /** Called when all messages of a tick are published. */
  endOfTick? (): void
  /** Bytes that wait in this process for slow consumers, if the contender provides this. */
  waitingBytes? (): number
  /** Number of slow consumers that were disconnected. */
  slowConsumers? (): number
}

export type Kind = 'progress' | 'update'

export interface ContenderOptions {
  /** Whether permessage-deflate is enabled. Sockets use it only if they offer it too. */
  readonly compression: boolean
  /** The file from which ours is imported. */
  readonly build: string
  /** Ours only: disables history. */
  readonly withoutHistory: boolean
}

/** The documented permessage-deflate settings. */
export const perMessageDeflate = {
  zlibDeflateOptions: { chunkSize: 1024, memLevel: 7, level: 3 },
  zlibInflateOptions: { chunkSize: 10 * 1024 },
  clientNoContextTakeover: true,
  serverNoContextTakeover: true,
  serverMaxWindowBits: 10,
  concurrencyLimit: 10,
  threshold: 1024
}

const position = { epoch: '0a1b2c3d.0', seq: 0 }
const joined = { ...position, recovered: false, replaying: 0, reason: 'new' }
const JOB_ID = randomUUID()

// The messages that an app must write itself with the other contenders: the same as ours.

export function message (sessionId: string, kind: Kind, body: Body): object {
  const timestamp = new Date().toISOString()
  return kind === 'progress' ? { type: 'ai_progress', sessionId, progress: body, timestamp, jobId: JOB_ID } : { type: 'update', ...body, sessionId, timestamp, ...position }
}


export function greeting (sessionId: string | undefined): object {
  return {
    type: 'connection',
    status: 'connected',
    clientId: `client_${Date.now()}_${randomUUID().replaceAll('-', '')}`,
    timestamp: new Date().toISOString(),
    ...(sessionId !== undefined && { sessionId, ...joined })
  }
}

export function subscribed (sessionId: string): object {
  return { type: 'subscribed', sessionId, timestamp: new Date().toISOString(), ...joined }
}

export function pong (): object {
  return { type: 'pong', timestamp: new Date().toISOString() }
}

export interface ClientMessage { readonly type: string, readonly sessionId: string }

/** Returns the session in the query of an upgrade request. */
export function sessionOf (url: string | undefined): string | undefined {
  return new URL(url ?? '/', 'ws://localhost').searchParams.get('sessionId') ?? undefined
}

/** The subscribers of each session, as an app would track them. */
export class Rooms<T> {
  readonly #rooms = new Map<string, Set<T>>()

  of (sessionId: string): ReadonlySet<T> | undefined {
    return this.#rooms.get(sessionId)
  }

  join (sessionId: string, member: T): void {
    const room = this.#rooms.get(sessionId)
    if (room === undefined) this.#rooms.set(sessionId, new Set([member]))
    else room.add(member)
  }

  leave (sessionIds: Iterable<string>, member: T): void {
    for (const sessionId of sessionIds) {
      const room = this.#rooms.get(sessionId)
      room?.delete(member)
      if (room?.size === 0) this.#rooms.delete(sessionId)
    }
  }
}

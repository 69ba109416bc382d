import { randomUUID } from 'node:crypto'
import type { Body } from '../payload.js'

/** A way to bring messages to sockets. Each runs in a process of its own, in the same frame: `process.ts`. */
export interface Contender {
  /** Listens on 127.0.0.1 and answers the port. */
  listen (): Promise<number>
  /** Brings a message to everyone who follows the session: progress, or one that must not be collapsed. */
  publish (sessionId: string, kind: Kind, body: Body): void
  /** Called when all of a tick is published. */
  endOfTick? (): void
  /** Bytes that wait in this process for readers, where the contender can tell. */
  waitingBytes? (): number
  /** Readers cut off because they were too slow. */
  slowConsumers? (): number
}

export type Kind = 'progress' | 'update'

export interface ContenderOptions {
  /** Whether permessage-deflate is on. Sockets get it only if they ask for it too. */
  readonly compression: boolean
  /** What ours is imported from. */
  readonly build: string
  /** Ours alone: keeps nothing for those who come back. */
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

// What the others must write themselves, as an app would: the same messages as ours.

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

/** The session in the query of an upgrade request. */
export function sessionOf (url: string | undefined): string | undefined {
  return new URL(url ?? '/', 'ws://localhost').searchParams.get('sessionId') ?? undefined
}

/** Who follows which session, as an app would keep it. */
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

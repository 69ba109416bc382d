import type { Manner, Script } from '../world.js'

// What the run and its server process say to each other, over the channel that `fork` makes.

/** How a server process is started. */
export interface ServerConfig {
  /** 0 for the first process of a run. */
  readonly generation: number
  /** Rights that were revoked before: users, and `<userId> <sessionId>`. */
  readonly revoked: readonly string[]
  readonly closeTimeoutMs: number
  readonly stallAfterMs: number
}

/** A job to run. `ending` is what its producer does at last; `silence` is a producer that dies without a word. */
export interface JobOrder {
  readonly sessionId: string
  readonly manner: Manner
  readonly script: Script
  readonly pieces: number
  readonly pauseMs: number
  readonly throttleMs: number
  readonly api: 'handle' | 'tracked' | 'explicit'
  readonly ending: 'complete' | 'error' | 'silence'
  readonly seed: number
}

/** What became of a numbered message. */
export interface Numbered {
  readonly stream: string
  readonly epoch: string
  readonly seq: number
  readonly n: number
}

/** What a server process looks like from inside. */
export interface ServerState {
  /** As `getStats` says. */
  readonly connections: number
  /** Network sockets of the HTTP server. */
  readonly sockets: number
  readonly bufferedBytes: number
  readonly historyBytes: number
  /** After a garbage collection, if one was asked for. */
  readonly memoryBytes: number
  readonly runningJobs: number
  readonly sent: number
  readonly received: number
  /** The latest position of each stream that something was published to, as `[stream, epoch, seq]`. */
  readonly heads: ReadonlyArray<readonly [string, string, number]>
}

export type ServerEvent =
  | { readonly event: 'listening', readonly port: number }
  | { readonly event: 'numbered', readonly list: readonly Numbered[], readonly endedJobs: readonly string[] }
  /** Something that must never happen. */
  | { readonly event: 'broken', readonly invariant: string, readonly detail: string }
  | { readonly event: 'closed', readonly ms: number }

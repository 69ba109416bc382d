import type { Manner, Script } from '../world.js'

// The messages between the run and its server process, over the channel that `fork` creates.

/** The configuration of a server process. */
export interface ServerConfig {
  /** 0 for the first process of a run. */
  readonly generation: number
  /** Rights that were revoked before, as `<userId>` or `<userId> <sessionId>`. */
  readonly revoked: readonly string[]
  readonly closeTimeoutMs: number
  readonly stallAfterMs: number
}

/** A job to run. `ending` is how its producer ends it: with `silence`, the producer stops without reporting an end. */
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

/** The position that a numbered message has received. */
export interface Numbered {
  readonly stream: string
  readonly epoch: string
  readonly seq: number
  readonly n: number
}

/** The internal state of a server process. */
export interface ServerState {
  /** As returned by `getStats`. */
  readonly connections: number
  /** Network sockets of the HTTP server. */
  readonly sockets: number
  readonly bufferedBytes: number
  readonly historyBytes: number
  /** Memory in use after a garbage collection. 0 if none was requested. */
  readonly memoryBytes: number
  readonly runningJobs: number
  readonly sent: number
  readonly received: number
  /** The latest position of each stream with a publication, as `[stream, epoch, seq]`. */
  readonly heads: ReadonlyArray<readonly [string, string, number]>
}

export type ServerEvent =
  | { readonly event: 'listening', readonly port: number }
  | { readonly event: 'numbered', readonly list: readonly Numbered[], readonly endedJobs: readonly string[] }
  /** An invariant was broken. */
  | { readonly event: 'broken', readonly invariant: string, readonly detail: string }
  | { readonly event: 'closed', readonly ms: number }

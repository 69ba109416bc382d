import type { Position, PublishOptions, Stream } from '../streams/broker.js'
import type { Transition } from '../streams/session-jobs.js'

// What the tests publish.

/** The options of a job report. */
export type JobOptions = PublishOptions & { readonly job: Transition }

export const session: Stream = 'session:one'
export const other: Stream = 'session:two'
export const durable: PublishOptions = { durable: true }
export const ephemeral: PublishOptions = { durable: false }

/** Returns a body. It ends with an inner object, so that the delivery layer could insert text. */
export function json (name: string | number): string {
  return JSON.stringify({ type: 'note', name: String(name), progress: {} })
}

/** Returns bodies with the names 0 to `count - 1`. */
export function jsons (count: number): string[] {
  return Array.from({ length: count }, (_, name) => json(name))
}

/** Returns a body of more than `bytes` bytes. */
export function large (bytes: number): string {
  return JSON.stringify({ type: 'note', ballast: 'x'.repeat(bytes), progress: {} })
}

export function positionOf ({ epoch, seq }: Position): Position {
  return { epoch, seq }
}

/** Returns the options of a job report. All but a progress are durable. */
export function report (event: Transition['event'], job: Omit<Transition, 'event'> = {}): JobOptions {
  return { durable: event !== 'progress', job: { event, ...job } }
}

/** Returns the options of a progress with text. */
export function text (delta: string, jobId?: string, from?: number): JobOptions {
  return { ...report('progress', jobId === undefined ? {} : { jobId }), delta, from }
}

/** Returns the options of a report that the node has published before. */
export function repeated (options: JobOptions): JobOptions {
  return { ...options, job: { ...options.job, repeated: true } }
}

/** Returns options with an idempotency key. */
export function keyed<T extends PublishOptions> (id: string, options: T, request = 'request'): T {
  return { ...options, key: { id, request } }
}

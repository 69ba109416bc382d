import type { Test } from 'tap'
import type { Broker, Joined, Position, Publication, PublishOptions, Stream } from '../../lib/streams/broker.js'
import type { Transition } from '../../lib/streams/session-jobs.js'
import type { MaybePromise } from '../../lib/util/maybe-promise.js'
import { FakeNode } from './broker-node.js'

/** Of one stream or job. Where none is given the broker's own must be roomy: some dozen messages, and 100 KiB of text. */
interface ContractBounds {
  readonly maxMessages?: number
  readonly maxBytes?: number
  readonly maxTextUnits?: number
  /** Of all streams. */
  readonly maxTotalBytes?: number
}

/** A broker as an app would make it, not opened yet. Each call's shares nothing with the others'. */
export type MakeBroker = (bounds?: ContractBounds) => MaybePromise<Broker>

/** A broker that is open, with a node that notes what it is given. Closed when the test ends. */
export type Start = (t: Test, bounds?: ContractBounds) => Promise<{ broker: Broker, node: FakeNode }>

export const session: Stream = 'session:one'
export const other: Stream = 'session:two'
export const durable: PublishOptions = { durable: true }
export const ephemeral: PublishOptions = { durable: false }

export function starter (makeBroker: MakeBroker): Start {
  return async (t, bounds) => {
    const broker = await makeBroker(bounds)
    const node = new FakeNode()
    await broker.open(node)
    t.teardown(() => broker.close())
    return { broker, node }
  }
}

export function json (name: string): string {
  return JSON.stringify({ type: 'note', name })
}

export function positionOf ({ epoch, seq }: Position): Position {
  return { epoch, seq }
}

export function numbered (publications: readonly Publication[]): Array<[seq: number | undefined, body: string]> {
  return publications.map(({ seq, body }) => [seq, body])
}

/** A report on a job: all but a progress are durable. */
export function report (event: Transition['event'], job: Omit<Transition, 'event'> = {}): PublishOptions {
  return { durable: event !== 'progress', job: { event, ...job } }
}

/** A progress that brings text. */
export function text (delta: string, jobId?: string): PublishOptions {
  return { ...report('progress', jobId === undefined ? {} : { jobId }), delta, textAt: 1 }
}

/** What a replay tells, as bodies. */
export function bodies ({ replay }: Joined): string[] {
  return replay.map(({ body }) => body)
}

/** The piece of text that a publication brings, and where it begins. */
export function pieceOf ({ text }: Publication): { text: string, offset: number, truncated: boolean } | undefined {
  return text?.source.slice(text.from, text.to)
}

/** Holds an answer against what is expected of it, which includes that nothing is replayed. */
export function bare (t: Test, joined: Joined, expected: Partial<Joined>, message = 'nothing to replay'): void {
  t.match(joined, expected, message)
  t.strictSame(joined.replay, [], message)
}

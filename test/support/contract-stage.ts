import type { Test } from 'tap'
import type { Broker, Joined, Position, Publication, PublishOptions, Stream } from '../../lib/streams/broker.js'
import type { Transition } from '../../lib/streams/session-jobs.js'
import type { MaybePromise } from '../../lib/util/maybe-promise.js'
import { FakeNode } from './broker-node.js'

/** Limits of one stream or job. The broker's defaults must allow several dozen messages, and 100 KiB of text. */
interface ContractBounds {
  readonly maxMessages?: number
  readonly maxBytes?: number
  readonly maxTextUnits?: number
  /** Limit of all streams. */
  readonly maxTotalBytes?: number
}

/** Makes a broker as an app does, and does not open it. The brokers of two calls share nothing. */
export type MakeBroker = (bounds?: ContractBounds) => MaybePromise<Broker>

/** Returns an open broker and its fake node. The broker is closed when the test ends. */
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

/** Returns the options of a job report. All but a progress are durable. */
export function report (event: Transition['event'], job: Omit<Transition, 'event'> = {}): PublishOptions {
  return { durable: event !== 'progress', job: { event, ...job } }
}

/** Returns the options of a progress with text. */
export function text (delta: string, jobId?: string): PublishOptions {
  return { ...report('progress', jobId === undefined ? {} : { jobId }), delta }
}

/** Returns the bodies of a replay. */
export function bodies ({ replay }: Joined): string[] {
  return replay.map(({ body }) => body)
}

/** Returns the piece of text in a publication, and its offset. */
export function pieceOf ({ text }: Publication): { text: string, offset: number, truncated: boolean } | undefined {
  return text?.source.slice(text.from, text.to)
}

/** Checks the result of a join, and that its replay is empty. */
export function bare (t: Test, joined: Joined, expected: Partial<Joined>, message = 'nothing to replay'): void {
  t.match(joined, expected, message)
  t.strictSame(joined.replay, [], message)
}

import assert from 'node:assert/strict'
import { parseSince } from '../../lib/protocol/positions.js'
import type { FakeClock } from './fake-clock.js'
import { PRESSED_BYTES } from './press.js'
import type { Reader } from './reader.js'
import { createServer, type Peer, type TestServer } from './server.js'
import type { Message } from './ws-client.js'

// The model of test/unit/connections/recovery-model.test.ts. It predicts what every reader must receive, and is compared with a server.

export const TTL = 1_000
export const END_TTL = 20_000
const MAX_MESSAGES = 5
export const READERS = 3
export const SESSIONS = ['a', 'b'] as const
export const STREAMS = ['session:a', 'session:b', 'user'] as const

export type StreamName = typeof STREAMS[number]

export interface Job { id: string, status: 'running' | 'ended', start?: string, progress?: number, end?: string }

/** The expected state of a stream. */
export interface ModelStream {
  /** Undefined until a message or a receipt contains it. */
  epoch: string | undefined
  /** Earlier epochs, which must not be used again. */
  readonly past: Set<string>
  /** The numbered messages of this epoch in order, each as a text that identifies it. */
  log: string[]
  /** How many of the latest messages are kept. */
  kept: number
  /** Whether any message was published in this epoch, durable or not. Otherwise there is nothing to forget. */
  exists: boolean
  jobs: Job[]
}

export interface ModelReader {
  readonly reader: Reader
  readonly userId: string | undefined
  subscriptions: Set<StreamName>
  peer: Peer | undefined
}

export interface Model {
  readonly streams: Record<StreamName, ModelStream>
  readonly readers: ModelReader[]
  /** The required situations that have occurred. */
  readonly happened: Set<string>
}

export interface Real { server: TestServer, readonly clock: FakeClock, next: number }

export function newStream (past = new Set<string>()): ModelStream {
  return { epoch: undefined, past, log: [], kept: 0, exists: false, jobs: [] }
}

export function newServer (clock: FakeClock): TestServer {
  return createServer({
    clock,
    bounds: { ttlMs: TTL, endTtlMs: END_TTL, maxMessages: MAX_MESSAGES, maxBytes: PRESSED_BYTES, maxTotalBytes: PRESSED_BYTES },
    jobs: { stallAfterMs: Infinity },
    delivery: { maxOutboxBytes: 1_500 }
  })
}

/** Returns a text that identifies a message. */
function tell (message: Message): string {
  const { n, task, result } = message as { n?: number, task?: { n: number }, result?: { n: number } }
  return `${message.type} ${String(n ?? task?.n ?? result?.n)}`
}

/** Records a numbered message that was published, and checks its receipt against the model. */
export function append (stream: ModelStream, text: string, receipt: { epoch?: string, seq?: number }): void {
  assert(!stream.past.has(receipt.epoch!), 'an epoch does not come back')
  stream.epoch ??= receipt.epoch
  assert.equal(receipt.epoch, stream.epoch)
  stream.log.push(text)
  assert.equal(receipt.seq, stream.log.length)
  stream.kept = Math.min(stream.kept + 1, MAX_MESSAGES)
}

/** Removes the messages of a stream, and what its jobs have left except for the latest end. */
export function settle (stream: ModelStream): void {
  stream.kept = 0
}

function isFollowed (model: Model, name: StreamName): boolean {
  return model.readers.some(({ peer, subscriptions }) => peer !== undefined && peer.transport.closedWith === undefined && subscriptions.has(name))
}

/**
 * Removes everything from a stream. If the stream has subscribers, its numbering continues and its running jobs remain. After
 * memory pressure, the same applies to a stream with a running job.
 */
export function forget (model: Model, name: StreamName, isPressed: boolean): void {
  const stream = model.streams[name]
  settle(stream)
  if (!stream.exists) return
  if (isFollowed(model, name) || (isPressed && stream.jobs.some(({ status }) => status === 'running'))) {
    stream.jobs = stream.jobs.filter(({ status }) => status === 'running').map(({ id, status }) => ({ id, status }))
    return
  }
  model.streams[name] = newStream(stream.past)
  if (stream.epoch !== undefined) stream.past.add(stream.epoch)
}

/** Returns the expected greeting of a reader that sends its position. */
function expectedGreeting (stream: ModelStream, text: string | undefined): { recovered: boolean, reason?: string, missed: number } {
  const since = parseSince(text)
  if (since === undefined) return { recovered: false, reason: 'new', missed: 0 }
  // If the epoch is not known yet, no reader can have a position in it.
  if (since.epoch !== stream.epoch) return { recovered: false, reason: 'restarted', missed: 0 }
  const missed = stream.log.length - since.seq
  if (missed > MAX_MESSAGES) return { recovered: false, reason: 'overflow', missed: 0 }
  if (missed > stream.kept) return { recovered: false, reason: 'expired', missed: 0 }
  return { recovered: true, missed }
}

function expectedPresent (stream: ModelStream): string[] {
  const ended = stream.jobs.filter(({ status }) => status === 'ended').at(-1)
  const running = stream.jobs.filter(({ status }) => status === 'running')
  return [
    ...ended?.end === undefined ? [] : [ended.end],
    ...running.flatMap(({ id, start, progress }) => [...start === undefined ? [] : [start], ...progress === undefined ? [] : [`${id} at ${progress}`]])
  ].sort()
}

function describe (message: Message): string {
  const { progress, jobId } = message as { progress?: { chunksReceived: number }, jobId?: string }
  return progress === undefined ? tell(message) : `${String(jobId)} at ${progress.chunksReceived}`
}

/** Passes the sent messages to a reader. With `fraction`, passes only the first of them, as if the rest were lost in transit. */
export function read ({ reader, peer }: ModelReader, fraction = 1): void {
  const messages = peer!.take()
  for (const message of messages.slice(0, Math.ceil(messages.length * fraction))) reader.take(message)
}

/** Checks that every connected reader that is not stalled has received everything. */
export function check (model: Model, { clock }: Real): void {
  clock.tick()
  for (const each of model.readers) {
    const { peer, reader, subscriptions } = each
    if (peer === undefined || peer.transport.stalled) continue
    read(each)
    for (const name of subscriptions) {
      const view = reader.view(name)
      const stream = model.streams[name]
      stream.epoch ??= view.greeting?.epoch
      assert.equal(view.greeting?.epoch, stream.epoch)
      assert.equal(view.replaying, 0, 'everything that was announced has come')
      assert.equal(view.place?.seq, stream.log.length, `${name}: it is at the head`)
      const texts = view.messages.map(tell)
      assert.deepEqual(texts, texts.length === 0 ? [] : stream.log.slice(-texts.length), `${name}: the model's sequence is the reader's`)
      for (const { id, status, progress } of stream.jobs) {
        if (status === 'running' && progress !== undefined) {
          assert.equal((view.progress.get(id)?.progress as { chunksReceived: number } | undefined)?.chunksReceived, progress, `${id} is where it is`)
        }
      }
    }
  }
}

/** Checks the greeting of a stream that a reader has just subscribed to, and the messages that followed, against the model. */
export function greeted (model: Model, { reader }: ModelReader, name: StreamName, since: string | undefined): void {
  const stream = model.streams[name]
  const expected = expectedGreeting(stream, since)
  const { greeting, present } = reader.view(name)
  assert(greeting)
  assert.equal(greeting.recovered, expected.recovered, `${name}, ${String(since)}: ${JSON.stringify(greeting)}`)
  assert.equal(greeting.reason, expected.reason)
  assert.equal(greeting.seq, stream.log.length)
  assert(!stream.past.has(greeting.epoch))
  stream.epoch ??= greeting.epoch
  assert.equal(greeting.epoch, stream.epoch)
  model.happened.add(expected.reason ?? (expected.missed > 0 ? 'recovered' : 'nothing missed'))
  if (expected.recovered) {
    const running = stream.jobs.filter(({ status, progress }) => status === 'running' && progress !== undefined)
    assert.equal(greeting.replaying, expected.missed + running.length)
  } else {
    assert.deepEqual(present.map(describe).sort(), expectedPresent(stream))
  }
}

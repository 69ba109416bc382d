import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { closeCodes } from '../../../lib/protocol/codes.js'
import { parseSince } from '../../../lib/protocol/positions.js'
import { FakeClock } from '../../support/fake-clock.js'
import { FakeTransport } from '../../support/fake-transport.js'
import { Reader } from '../../support/reader.js'
import { createServer, type Peer, type TestServer } from '../../support/server.js'
import type { Message } from '../../support/ws-client.js'

// The recovery protocol, as commands that are carried out on a server and beside it on a model of what every reader must
// see. The reader is written from the protocol and knows its own rules: a double, a gap or a false count is its fault to find.

const TTL = 1_000
const END_TTL = 20_000
const MAX_MESSAGES = 6
const CEILING = 1024 * 1024
const READERS = 3
const SESSIONS = ['a', 'b'] as const
const STREAMS = ['session:a', 'session:b', 'user'] as const

type StreamName = typeof STREAMS[number]

interface Job { id: string, status: 'running' | 'ended', start?: string, progress?: number, end?: string }

/** What the server must know of a stream. */
interface ModelStream {
  /** Unknown until something is told of it. */
  epoch: string | undefined
  /** Epochs that can't come back. */
  readonly past: Set<string>
  /** The numbered messages of this epoch, by their place: what tells each from all others. */
  log: string[]
  /** How many of the latest are kept. */
  kept: number
  /** Whether anything was published in this epoch, fleeting or not: only then there is something to forget. */
  exists: boolean
  jobs: Job[]
}

interface ModelReader {
  readonly reader: Reader
  readonly userId: string | undefined
  follows: Set<StreamName>
  peer: Peer | undefined
}

interface Model {
  readonly streams: Record<StreamName, ModelStream>
  readonly readers: ModelReader[]
  /** How often each thing that must happen did. */
  readonly happened: Set<string>
}

interface Real { server: TestServer, readonly clock: FakeClock, next: number }

type Command = fc.AsyncCommand<Model, Real>

function newStream (past: Set<string> = new Set()): ModelStream {
  return { epoch: undefined, past, log: [], kept: 0, exists: false, jobs: [] }
}

function newServer (clock: FakeClock): TestServer {
  return createServer({
    clock,
    bounds: { ttlMs: TTL, endTtlMs: END_TTL, maxMessages: MAX_MESSAGES, maxBytes: 2 * CEILING, maxTotalBytes: CEILING },
    jobs: { stallAfterMs: Infinity },
    delivery: { maxOutboxBytes: 6_000 }
  })
}

/** What tells a message from all others. */
function tell (message: Message): string {
  const { n, task, result } = message as { n?: number, task?: { n: number }, result?: { n: number } }
  return `${message.type} ${String(n ?? task?.n ?? result?.n)}`
}

/** Notes a numbered message that was published, and holds the receipt against the model. */
function append (stream: ModelStream, text: string, receipt: { epoch?: string, seq?: number }): void {
  assert(!stream.past.has(receipt.epoch!), 'an epoch does not come back')
  stream.epoch ??= receipt.epoch
  assert.equal(receipt.epoch, stream.epoch)
  stream.log.push(text)
  assert.equal(receipt.seq, stream.log.length)
  stream.kept = Math.min(stream.kept + 1, MAX_MESSAGES)
}

/** Messages go, and what jobs left but the latest end. */
function settle (stream: ModelStream): void {
  stream.kept = 0
}

function isFollowed (model: Model, name: StreamName): boolean {
  return model.readers.some(({ peer, follows }) => peer !== undefined && follows.has(name))
}

/**
 * Everything goes. The numbers of a stream that is followed go on, and what runs in it; after pressure also those of one in
 * which a job runs.
 */
function forget (model: Model, name: StreamName, isPressed: boolean): void {
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

/** What a reader must be told that says it was there. */
function expectedGreeting (stream: ModelStream, text: string | undefined): { recovered: boolean, reason?: string, missed: number } {
  const since = parseSince(text)
  if (since === undefined) return { recovered: false, reason: 'new', missed: 0 }
  // An epoch that is not known yet is none that a reader can hold.
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

/** Takes what a reader was sent; with `fraction` only the beginning of it, because the rest was lost on the way. */
function read ({ reader, peer }: ModelReader, fraction = 1): void {
  const messages = peer!.take()
  for (const message of messages.slice(0, Math.ceil(messages.length * fraction))) reader.take(message)
}

/** What must be true whenever everybody has read: everyone who is there, and not behind, knows everything. */
function check (model: Model, { clock }: Real): void {
  clock.tick()
  for (const each of model.readers) {
    const { peer, reader, follows } = each
    if (peer === undefined || peer.transport.stalled) continue
    read(each)
    for (const name of follows) {
      const view = reader.view(name)
      const stream = model.streams[name]
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

/** Holds the greeting of a stream that was just followed against the model, and what came with it. */
function greeted (model: Model, { reader }: ModelReader, name: StreamName, since: string | undefined): void {
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

class Publish implements Command {
  constructor (readonly stream: StreamName, readonly ephemeral: boolean) {}
  check = (): boolean => true
  async run (model: Model, real: Real): Promise<void> {
    const n = real.next++
    const { manager } = real.server
    model.streams[this.stream].exists = true
    if (this.stream === 'user') {
      append(model.streams.user, `note ${n}`, await manager.broadcastToUser('u', { type: 'note', n }))
    } else if (this.ephemeral) {
      await manager.broadcastToSession(this.stream.slice('session:'.length), { type: 'batch_update', messages: [n] })
    } else {
      append(model.streams[this.stream], `note ${n}`, await manager.broadcastToSession(this.stream.slice('session:'.length), { type: 'note', n }))
    }
    check(model, real)
  }
  toString = (): string => `publish ${this.ephemeral ? 'a fleeting one ' : ''}to ${this.stream}`
}

class Report implements Command {
  constructor (readonly event: 'start' | 'progress' | 'complete', readonly session: typeof SESSIONS[number], readonly which: number) {}
  check = (): boolean => true
  async run (model: Model, real: Real): Promise<void> {
    const { manager } = real.server
    const n = real.next++
    const stream = model.streams[`session:${this.session}`]
    const jobId = `job ${this.session} ${this.which}`
    const found = stream.jobs.find(({ id }) => id === jobId)
    const isDropped = found !== undefined && (this.event === 'start' || found.status === 'ended')
    const job: Job = found ?? { id: jobId, status: 'running' }
    const receipt = await {
      start: () => manager.notifyAIStart(this.session, { n }, { jobId }),
      progress: () => manager.notifyAIProgress(this.session, { chunksReceived: n }, { jobId }),
      complete: () => manager.notifyAIComplete(this.session, { n }, { jobId })
    }[this.event]()
    assert.equal(receipt.dropped !== undefined, isDropped)
    stream.exists = true
    if (isDropped) return
    stream.jobs = [...stream.jobs.filter((each) => each !== found), job]
    if (this.event === 'progress') {
      job.progress = n
    } else {
      const text = `ai_${this.event} ${n}`
      append(stream, text, receipt)
      if (this.event === 'start') job.start = text
      else Object.assign(job, { status: 'ended', end: text })
    }
    check(model, real)
  }
  toString = (): string => `${this.event} of job ${this.session} ${this.which}`
}

class Connect implements Command {
  constructor (readonly which: number, readonly honest: boolean) {}
  check = (model: Readonly<Model>): boolean => model.readers[this.which]!.peer === undefined
  async run (model: Model, real: Real): Promise<void> {
    const each = model.readers[this.which]!
    const since = this.honest ? each.reader.since('session:a') : undefined
    const userSince = this.honest ? each.reader.since('user') : undefined
    const transport = new FakeTransport()
    each.peer = await real.server.connect({
      transport, sessionId: 'a', request: { since: parseSince(since), have: new Map() }, userSince: parseSince(userSince),
      ...(each.userId !== undefined && { userId: each.userId })
    })
    each.follows = new Set(each.userId === undefined ? ['session:a'] : ['session:a', 'user'])
    for (const text of transport.texts) each.reader.take(JSON.parse(text) as Message)
    for (const name of each.follows) greeted(model, each, name, name === 'user' ? userSince : since)
    check(model, real)
  }
  toString = (): string => `${this.which} comes${this.honest ? '' : ' and has forgotten everything'}`
}

class Join implements Command {
  constructor (readonly which: number) {}
  check = (model: Readonly<Model>): boolean => {
    const { peer, follows } = model.readers[this.which]!
    return peer?.transport.stalled === false && !follows.has('session:b')
  }
  async run (model: Model, real: Real): Promise<void> {
    const each = model.readers[this.which]!
    const since = each.reader.since('session:b')
    each.peer!.send({ type: 'subscribe', sessionId: 'b', ...(since !== undefined && { since }) })
    read(each)
    each.follows.add('session:b')
    greeted(model, each, 'session:b', since)
    check(model, real)
    await Promise.resolve()
  }
  toString = (): string => `${this.which} joins b`
}

class Leave implements Command {
  constructor (readonly which: number) {}
  check = (model: Readonly<Model>): boolean => {
    const { peer, follows } = model.readers[this.which]!
    return peer?.transport.stalled === false && follows.has('session:b')
  }
  async run (model: Model, real: Real): Promise<void> {
    const each = model.readers[this.which]!
    each.peer!.send({ type: 'unsubscribe', sessionId: 'b' })
    each.follows.delete('session:b')
    check(model, real)
    await Promise.resolve()
  }
  toString = (): string => `${this.which} leaves b`
}

/** A socket that breaks. What was on its way arrives in part, in the middle of a replay too. */
function drop (model: Model, each: ModelReader, fraction: number): void {
  read(each, fraction)
  each.peer!.leave(1006)
  each.peer = undefined
  for (const name of each.follows) {
    const view = each.reader.view(name)
    if (view.replaying > 0) model.happened.add('dropped in the middle of a replay')
    view.replaying = 0
  }
  each.follows = new Set()
}

class Drop implements Command {
  constructor (readonly which: number, readonly fraction: number) {}
  check = (model: Readonly<Model>): boolean => model.readers[this.which]!.peer !== undefined
  async run (model: Model, real: Real): Promise<void> {
    drop(model, model.readers[this.which]!, this.fraction)
    check(model, real)
    await Promise.resolve()
  }
  toString = (): string => `${this.which} drops, with ${this.fraction} of what was on its way`
}

/** Comes back, and drops at once, having read a part of what it was sent. */
class Glimpse implements Command {
  constructor (readonly which: number, readonly fraction: number) {}
  check = (model: Readonly<Model>): boolean => model.readers[this.which]!.peer === undefined
  async run (model: Model, real: Real): Promise<void> {
    const each = model.readers[this.which]!
    const { reader } = each
    const transport = new FakeTransport()
    each.peer = await real.server.connect({
      transport, sessionId: 'a', request: { since: parseSince(reader.since('session:a')), have: new Map() },
      userSince: parseSince(reader.since('user')), ...(each.userId !== undefined && { userId: each.userId })
    })
    each.follows = new Set(each.userId === undefined ? ['session:a'] : ['session:a', 'user'])
    const messages = transport.texts.map((text) => JSON.parse(text) as Message)
    for (const message of messages.slice(0, Math.ceil(messages.length * this.fraction))) reader.take(message)
    for (const name of each.follows) {
      const { greeting } = reader.view(name)
      if (greeting !== undefined && this.fraction > 0) model.streams[name].epoch ??= greeting.epoch
    }
    drop(model, each, 1)
    check(model, real)
  }
  toString = (): string => `${this.which} comes, and drops after ${this.fraction} of what it is sent`
}

class Stall implements Command {
  constructor (readonly which: number) {}
  check = (model: Readonly<Model>): boolean => model.readers[this.which]!.peer?.transport.stalled === false
  async run (model: Model): Promise<void> {
    const { transport } = model.readers[this.which]!.peer!
    transport.writeAheadBytes = 500
    transport.stalled = true
    await Promise.resolve()
  }
  toString = (): string => `${this.which} stops reading`
}

class Read implements Command {
  constructor (readonly which: number) {}
  check = (model: Readonly<Model>): boolean => model.readers[this.which]!.peer?.transport.stalled === true
  async run (model: Model, real: Real): Promise<void> {
    const each = model.readers[this.which]!
    const { transport } = each.peer!
    if (transport.closedWith !== undefined) {
      assert.equal(transport.closedWith.code, closeCodes.slowReader.code)
      model.happened.add('a slow reader')
      drop(model, each, 1)
    } else {
      transport.stalled = false
      transport.drain()
    }
    check(model, real)
    await Promise.resolve()
  }
  toString = (): string => `${this.which} reads again`
}

/** Time in which nothing happens. */
class Wait implements Command {
  constructor (readonly long: boolean) {}
  check = (): boolean => true
  async run (model: Model, real: Real): Promise<void> {
    real.clock.advance((this.long ? END_TTL : TTL) * 1.3)
    for (const name of STREAMS) {
      if (this.long) forget(model, name, false)
      else settle(model.streams[name])
    }
    check(model, real)
    await Promise.resolve()
  }
  toString = (): string => this.long ? 'a day' : 'a while'
}

/** Somebody else's session needs all of the room: for its messages, or for the state of its job. */
class Press implements Command {
  constructor (readonly hard: boolean) {}
  check = (): boolean => true
  async run (model: Model, real: Real): Promise<void> {
    const { manager, broker } = real.server
    const prompt = 'x'.repeat(CEILING * 0.6)
    await (this.hard ? manager.notifyAIStart('greedy', { prompt }) : manager.broadcastToSession('greedy', { type: 'greedy', prompt }))
    assert(broker.bytes <= CEILING)
    for (const name of STREAMS) {
      if (this.hard) forget(model, name, true)
      else settle(model.streams[name])
    }
    check(model, real)
  }
  toString = (): string => this.hard ? 'pressure, on what jobs left too' : 'pressure'
}

class Restart implements Command {
  check = (): boolean => true
  async run (model: Model, real: Real): Promise<void> {
    const closed = real.server.manager.close()
    for (const each of model.readers) if (each.peer !== undefined) drop(model, each, 1)
    await closed
    real.server.broker.close()
    real.server = newServer(real.clock)
    for (const name of STREAMS) {
      const { epoch, past } = model.streams[name]
      if (epoch !== undefined) past.add(epoch)
      model.streams[name] = newStream(past)
    }
  }
  toString = (): string => 'restart'
}

const which = fc.nat(READERS - 1)
const fraction = fc.constantFrom(0, 0.3, 0.6, 1)
const session = fc.constantFrom(...SESSIONS)

const commands = fc.commands<Model, Real, true, false>([
  fc.tuple(fc.constantFrom(...STREAMS), fc.constantFrom(false, false, false, true)).map(([stream, ephemeral]) => new Publish(stream, ephemeral)),
  fc.tuple(fc.constantFrom('start' as const, 'progress' as const, 'complete' as const), session, fc.nat(3)).map(([event, of, id]) => new Report(event, of, id)),
  fc.tuple(fc.constantFrom(...STREAMS), fc.constant(false)).map(([stream, ephemeral]) => new Publish(stream, ephemeral)),
  fc.tuple(fc.constantFrom('start' as const, 'progress' as const, 'complete' as const), session, fc.nat(3)).map(([event, of, id]) => new Report(event, of, id)),
  fc.tuple(which, fc.constantFrom(true, true, true, false)).map(([reader, honest]) => new Connect(reader, honest)),
  fc.tuple(which, fc.constantFrom(true, true, true, false)).map(([reader, honest]) => new Connect(reader, honest)),
  fc.tuple(which, fraction).map(([reader, part]) => new Drop(reader, part)),
  fc.tuple(which, fraction).map(([reader, part]) => new Glimpse(reader, part)),
  which.map((reader) => new Join(reader)),
  which.map((reader) => new Leave(reader)),
  which.map((reader) => new Stall(reader)),
  which.map((reader) => new Read(reader)),
  fc.constantFrom(false, false, true).map((long) => new Wait(long)),
  fc.constantFrom(false, true).map((hard) => new Press(hard)),
  fc.constant(new Restart())
], { maxCommands: 60, size: 'max' })

t.test('the model\'s sequence and the reader\'s are equal, always; who could not be recovered was told why', async (t) => {
  const happened = new Set<string>()
  await fc.assert(fc.asyncProperty(commands, async (steps) => {
    await fc.asyncModelRun(() => {
      const clock = new FakeClock()
      const streams = { 'session:a': newStream(), 'session:b': newStream(), user: newStream() }
      const readers = Array.from({ length: READERS }, (_, at): ModelReader => ({
        reader: new Reader(), userId: at === 2 ? undefined : 'u', follows: new Set(), peer: undefined
      }))
      return { model: { streams, readers, happened }, real: { server: newServer(clock), clock, next: 1 } }
    }, steps)
  }), { numRuns: 300, interruptAfterTimeLimit: 8_000, markInterruptAsFailure: false })
  for (const each of [
    'new', 'expired', 'restarted', 'overflow', 'recovered', 'nothing missed', 'dropped in the middle of a replay', 'a slow reader'
  ]) t.ok(happened.has(each), `it did happen: ${each}`)
})

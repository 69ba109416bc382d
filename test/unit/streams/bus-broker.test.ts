import t from 'tap'
import type { Test } from 'tap'
import { defaults } from '../../../lib/options.js'
import type { BrokerNode, BrokerSettings, Position, Publication, PublishOptions, Stream } from '../../../lib/streams/broker.js'
import type { Transition } from '../../../lib/streams/session-jobs.js'
import type { BusBroker } from '../../support/bus-broker.js'
import { busFixture, type BusFixture } from '../../support/bus-fixture.js'
import { REVOKE_TIMEOUT_MS } from '../../support/bus-control.js'
import type { BusOptions } from '../../support/bus-store.js'
import { fakeLogger } from '../../support/log.js'

const session: Stream = 'session:one'
const durable: PublishOptions = { durable: true }
const json = (name: string): string => JSON.stringify({ name, progress: {} })
const report = (event: Transition['event'], job: Omit<Transition, 'event'> = {}): PublishOptions => ({ durable: event !== 'progress', job: { event, ...job } })
const positionOf = ({ epoch, seq }: Position): Position => ({ epoch, seq })

/** A node that records its calls as lines, such as `deliver session:one 1 {}`. */
class Recorder implements BrokerNode {
  readonly lines: string[] = []
  readonly publications: Publication[] = []
  seed: () => Promise<void> = async () => undefined
  #changed: Array<() => void> = []

  deliver (stream: Stream, publication: Publication): number {
    this.publications.push(publication)
    this.#add(`deliver ${stream} ${(JSON.parse(publication.body as string) as { name: string }).name}`)
    return 1
  }

  restarted (stream: Stream): void { this.#add(`restarted ${stream}`) }
  orphaned (stream: Stream, jobId: string, ownership: string): void { this.#add(`orphaned ${stream} ${jobId} (${ownership})`) }
  disowned (stream: Stream, jobId: string): void { this.#add(`disowned ${stream} ${jobId}`) }
  revoke ({ userId }: { userId: string }): void { this.#add(`revoke ${userId}`) }
  statusChanged ({ state }: { state: string }): void { this.#add(state) }

  answer (question: string): string {
    this.#add(`answer ${question}`)
    return 'yes'
  }

  async cancel (stream: Stream, jobId: string): Promise<boolean> {
    this.#add(`cancel ${stream} ${jobId}`)
    return true
  }

  reseed (): Promise<void> {
    this.#add('reseed')
    return this.seed()
  }

  /** Waits for a line that begins like this, and removes all lines up to it. Returns them. */
  async until (begin: string): Promise<string[]> {
    for (;;) {
      const at = this.lines.findIndex((line) => line.startsWith(begin))
      if (at >= 0) return this.lines.splice(0, at + 1)
      await new Promise<void>((resolve) => { this.#changed.push(resolve) })
    }
  }

  #add (line: string): void {
    this.lines.push(line)
    for (const changed of this.#changed.splice(0)) changed()
  }
}

interface Node { readonly broker: BusBroker, readonly node: Recorder }

/** Opens several nodes over one store. */
async function start (t: Test, count: number, options: Partial<BusOptions> = {}): Promise<{ fixture: BusFixture, nodes: Node[] }> {
  const fixture = busFixture(options.seed, options)
  const settings: BrokerSettings = { history: defaults.history, ...defaults.jobs, clock: fixture.clock, log: fakeLogger() }
  const nodes = []
  for (let i = 0; i < count; i++) {
    const [broker, node] = [fixture.store.createBroker(), new Recorder()]
    await broker.open(node, settings)
    nodes.push({ broker, node })
  }
  t.teardown(() => fixture.close?.())
  return { fixture, nodes }
}

t.test('a publication reaches the nodes that have joined its stream, and everyone\'s stream reaches all', async (t) => {
  const { nodes: [a, b, c] } = await start(t, 3)
  await a!.broker.join(session)
  await b!.broker.join(session)
  t.match(await a!.broker.publish(session, json('one'), durable), { seq: 1, recipients: 1 })
  t.match(await c!.broker.publish(session, json('two'), durable), { seq: 2, recipients: 0 })
  t.match(await c!.broker.publish('all', json('all'), { durable: false }), { recipients: 1 })
  for (const { node } of [a!, b!]) t.strictSame(await node.until('deliver all'), ['deliver session:one one', 'deliver session:one two', 'deliver all all'])
  t.strictSame(c!.node.lines, ['deliver all all'])
  b!.broker.leave(session)
  await a!.broker.publish(session, json('three'), durable)
  await c!.broker.publish('all', json('end'), { durable: false })
  t.strictSame(await b!.node.until('deliver all'), ['deliver all end'])
})

t.test('bodies can be delivered as bytes', async (t) => {
  const { nodes: [a] } = await start(t, 1, { asBytes: true })
  a!.node.deliver = (_stream, publication) => a!.node.publications.push(publication)
  await a!.broker.join(session)
  await a!.broker.publish(session, json('é'), durable)
  t.strictSame(a!.node.publications[0]?.body, Buffer.from(json('é')))
})

t.test('a publish that was lost before its execution can be repeated, and one that was lost after it returns its result', async (t) => {
  const { fixture, nodes: [a] } = await start(t, 1)
  await a!.broker.join(session)
  for (const [counter, when] of [[1, 'before'], [2, 'after']] as const) {
    const options = { ...report('complete', { jobId: String(counter) }), counter }
    fixture.store.failNext(when)
    await t.rejects(a!.broker.publish(session, json(when), options), /the connection broke/)
    t.match(await a!.broker.publish(session, json(when), options), { seq: counter, jobId: String(counter), recipients: 1 })
    t.match(await a!.broker.publish(session, json(when), options), { seq: counter, jobId: String(counter), recipients: 1 })
  }
  await a!.broker.publish(session, json('end'), durable)
  t.strictSame(await a!.node.until('deliver session:one end'), ['before', 'after', 'end'].map((name) => `deliver session:one ${name}`))
})

t.test('random losses are lost before or after the execution', async (t) => {
  const { nodes: [a] } = await start(t, 1, { losses: 0.5 })
  const results = await Promise.allSettled(Array.from({ length: 50 }, (_, i) => a!.broker.publish(session, json(String(i)), durable)))
  const confirmed = results.filter(({ status }) => status === 'fulfilled').length
  const { seq } = await a!.broker.join(session)
  t.ok(confirmed > 0 && confirmed < seq && seq < 50, `${confirmed} confirmed of ${seq} executed`)
})

t.test('a store that comes back empty restarts the streams, then the nodes publish their jobs, then joins return', async (t) => {
  const { fixture, nodes: [a, b] } = await start(t, 2)
  const { epoch } = await a!.broker.join(session)
  await b!.broker.join(session)
  await b!.broker.publish(session, json('start'), report('start', { jobId: 'j' }))
  await b!.broker.publish(session, json('other'), durable)
  await a!.node.until('deliver session:one other')
  await b!.node.until('deliver session:one other')
  b!.node.seed = async () => {
    await b!.broker.publish(session, json('again'), report('start', { jobId: 'j', repeated: true }))
  }
  fixture.lose!()
  const end = b!.broker.publish(session, json('end'), report('complete', { jobId: 'j' }))
  const joined = await a!.broker.join(session, { since: { epoch, seq: 2 } })
  t.match(joined, { recovered: false, reason: 'restarted' })
  t.not(joined.epoch, epoch)
  t.ok(joined.replay.some(({ jobId }) => jobId === 'j'), 'no snapshot lacks the job')
  t.match(await end, { seq: 2, epoch: joined.epoch })
  const lines = ['restarted session:one', 'reseed', 'deliver session:one again', 'deliver session:one end']
  for (const { node } of [a!, b!]) t.strictSame(await node.until('deliver session:one end'), lines)
})

t.test('joins do not wait for a node that never publishes its jobs', async (t) => {
  const { fixture, nodes: [a, b] } = await start(t, 2)
  b!.node.seed = () => new Promise(() => undefined)
  fixture.lose!()
  await b!.node.until('reseed')
  let hasJoined = false
  const joining = a!.broker.join(session).then(() => { hasJoined = true })
  // The revocation travels the same way as the join.
  await a!.broker.revoke({ userId: 'u' })
  t.notOk(hasJoined)
  fixture.clock.advance(5_000)
  await joining
})

t.test('a publication of a lost incarnation whose result is late rejects, and its retry is published', async (t) => {
  for (let seed = 1; seed <= 20; seed++) {
    const { fixture, nodes: [a] } = await start(t, 1, { seed })
    await a!.broker.join(session)
    const options = { ...report('complete', { jobId: 'j' }), counter: 1 }
    let isKnown = false
    a!.node.seed = async () => { if (isKnown) await a!.broker.publish(session, json('end'), { durable: true, job: { event: 'complete', jobId: 'j', repeated: true } }) }
    const published = a!.broker.publish(session, json('end'), options).then(() => { isKnown = true })
    for (let turns = 0; turns < seed % 8; turns++) await new Promise(setImmediate)
    fixture.lose!()
    await published.catch(() => a!.broker.publish(session, json('end'), options))
    const { replay } = await a!.broker.join(session)
    t.strictSame(replay.map(({ body }) => body), [json('end')], `seed ${seed}`)
  }
})

t.test('after a failover to a replica that lags behind, positions up to its head recover', async (t) => {
  const { fixture, nodes: [a] } = await start(t, 1)
  await a!.broker.join(session)
  const positions = []
  for (const name of ['1', '2', '3', '4']) positions.push(positionOf(await a!.broker.publish(session, json(name), durable)))
  fixture.loseTail(2)
  const bodies = async (since: Position) => {
    const { recovered, reason, replay } = await a!.broker.join(session, { since })
    return recovered ? replay.map(({ body }) => (JSON.parse(body as string) as { name: string }).name) : reason
  }
  t.match(await a!.broker.publish(session, json('new'), durable), { seq: 3 }, 'the numbers go on')
  t.strictSame(await Promise.all(positions.map(bodies)), [['2', 'new'], ['new'], 'restarted', 'restarted'])
  fixture.loseTail(2)
  t.strictSame(await Promise.all(positions.map(bodies)), [[], 'restarted', 'restarted', 'restarted'], 'also after one more')
  fixture.lose!()
  t.strictSame(await Promise.all(positions.map(bodies)), Array(4).fill('restarted'))
})

t.test('a failover keeps the jobs and the ids that the store has made, but not their owners', async (t) => {
  const { fixture, nodes: [a, b] } = await start(t, 2)
  const { jobId } = await a!.broker.publish(session, json('start'), report('start'))
  await a!.broker.publish(session, json('progress'), { ...report('progress'), delta: 'text' })
  await b!.broker.adopt(session, jobId!)
  await a!.broker.publish(session, json('end'), report('complete'))
  fixture.loseTail(1)
  t.equal(await a!.broker.currentJob(session), jobId)
  t.match(await b!.broker.publish(session, json('text'), { ...report('progress', { jobId: jobId! }), delta: 'xt!', from: 2 }), { textEnd: 5 })
})

t.test('a node that was disconnected gets what it missed, revocations first', async (t) => {
  const { fixture, nodes: [a, b] } = await start(t, 2)
  await a!.broker.join(session)
  await b!.broker.publish(session, json('before'), durable)
  await a!.node.until('deliver')
  fixture.disconnect!(a!.broker)
  t.match(a!.broker.status(), { state: 'unavailable' })
  await t.rejects(a!.broker.publish(session, json('lost'), durable), /can't be reached/)
  await b!.broker.publish(session, json('missed'), durable)
  await t.rejects(b!.broker.revoke({ userId: 'u' }), /not confirmed by node-1$/)
  await b!.broker.publish('all', json('missed'), { durable: false })
  await fixture.reconnect!(a!.broker)
  t.strictSame(a!.node.lines.slice(0, 2), ['unavailable', 'revoke u'])
  t.strictSame((await a!.node.until('ready')).slice(2).sort(), ['deliver all missed', 'deliver session:one missed', 'ready'])
  await b!.broker.publish(session, json('after'), durable)
  await a!.node.until('deliver session:one after')
})

t.test('a node that missed more than the store remembers is told to join again', async (t) => {
  const { fixture, nodes: [a, b] } = await start(t, 2)
  await a!.broker.join(session)
  fixture.disconnect!(a!.broker)
  await Promise.all(Array.from({ length: 2_100 }, (_, i) => b!.broker.publish(session, json(String(i)), { durable: false })))
  await fixture.reconnect!(a!.broker)
  t.strictSame(await a!.node.until('ready'), ['unavailable', 'restarted session:one', 'ready'])
})

t.test('a node that was disconnected when the store was emptied is told on its return', async (t) => {
  const { fixture, nodes: [a, b] } = await start(t, 2)
  await a!.broker.join(session)
  fixture.disconnect!(a!.broker)
  fixture.lose!()
  await b!.broker.join(session)
  await fixture.reconnect!(a!.broker)
  t.strictSame((await a!.node.until('reseed')).filter((line) => line !== 'ready'), ['unavailable', 'restarted session:one', 'reseed'])
})

t.test('a node that is disconnected while it publishes its jobs does it again', async (t) => {
  const { fixture, nodes: [a] } = await start(t, 1)
  a!.node.seed = async () => { await a!.broker.publish(session, json('start'), report('start', { jobId: 'j', repeated: true })).catch(() => undefined) }
  fixture.lose!()
  await a!.node.until('reseed')
  fixture.disconnect!(a!.broker)
  a!.node.lines.length = 0
  await fixture.reconnect!(a!.broker)
  t.equal(await a!.broker.currentJob(session), 'j')
  t.strictSame(a!.node.lines.sort(), ['ready', 'reseed'])
})

t.test('a publish whose connection breaks rejects, and so does a join', async (t) => {
  const { fixture, nodes: [a] } = await start(t, 1)
  const calls = [a!.broker.publish(session, json('a'), durable), a!.broker.join(session), a!.broker.revoke({ userId: 'u' })]
  fixture.disconnect!(a!.broker)
  for (const { status } of await Promise.allSettled(calls)) t.equal(status, 'rejected')
  a!.broker.leave(session)
  await fixture.reconnect!(a!.broker)
  t.equal(await a!.broker.currentJob(session), undefined)
})

t.test('the jobs of a killed node are orphaned, and the presumed end is refused if another node runs them by then', async (t) => {
  const { fixture, nodes: [a, b] } = await start(t, 2)
  for (const jobId of ['left', 'adopted']) await a!.broker.publish(session, json('start'), report('start', { jobId }))
  await a!.broker.publish(session, json('end'), report('complete', { jobId: 'ended' }))
  await fixture.kill!(a!.broker)
  await b!.node.until('orphaned session:one adopted')
  await b!.broker.adopt(session, 'adopted')
  const orphan = (jobId: string) => report('error', { jobId, presumed: true, ownership: '1 node-1' })
  t.match(await b!.broker.publish(session, json('stalled'), orphan('adopted')), { dropped: 'owned' })
  t.match(await b!.broker.publish(session, json('stalled'), orphan('left')), { jobId: 'left' })
  await t.rejects(a!.broker.publish(session, json('dead'), durable))
})

t.test('the jobs of nodes that are all gone are reported to the next one', async (t) => {
  const { fixture, nodes: [a, b] } = await start(t, 2)
  await a!.broker.publish(session, json('start'), report('start', { jobId: 'j' }))
  await fixture.kill!(a!.broker)
  await fixture.kill!(b!.broker)
  const [broker, node] = [fixture.store.createBroker(), new Recorder()]
  await broker.open(node, { history: defaults.history, ...defaults.jobs, clock: fixture.clock, log: fakeLogger() })
  t.strictSame(await node.until('orphaned'), ['orphaned session:one j (1 node-1)'])
})

t.test('a released job is orphaned if no node adopts it in time', async (t) => {
  const { fixture: { clock }, nodes: [a, b] } = await start(t, 2)
  for (const jobId of ['left', 'adopted']) {
    await a!.broker.publish(session, json('start'), report('start', { jobId }))
    t.equal(await a!.broker.release(session, jobId), true)
    t.equal(await a!.broker.release(session, jobId), false)
  }
  t.equal(await b!.broker.adopt(session, 'adopted'), true)
  clock.advance(defaults.jobs.stallAfterMs)
  t.match(await a!.node.until('orphaned'), ['orphaned session:one left (2 )'])
  await a!.broker.publish('all', json('end'), { durable: false })
  t.strictSame(await a!.node.until('deliver'), ['deliver all end'])
})

t.test('the last node to report owns a job, and the one before is told, even if it was disconnected', async (t) => {
  const { fixture, nodes: [a, b] } = await start(t, 2)
  await a!.broker.publish(session, json('start'), report('start', { jobId: 'j' }))
  await b!.broker.publish(session, json('progress'), report('progress', { jobId: 'j' }))
  t.strictSame(await a!.node.until('disowned'), ['disowned session:one j'])
  fixture.disconnect!(b!.broker)
  t.equal(await a!.broker.adopt(session, 'j'), true)
  await fixture.reconnect!(b!.broker)
  t.strictSame(b!.node.lines, ['unavailable', 'disowned session:one j', 'ready'])
})

t.test('a cancel reaches the owner of a job, and the caller if there is none', async (t) => {
  const { fixture, nodes: [a, b] } = await start(t, 2)
  await a!.broker.publish(session, json('start'), report('start', { jobId: 'j' }))
  t.equal(await b!.broker.cancel(session, 'j'), true)
  t.strictSame(a!.node.lines, ['cancel session:one j'])
  t.equal(await b!.broker.cancel(session, 'unknown'), true)
  t.strictSame(b!.node.lines, ['cancel session:one unknown'])
  fixture.disconnect!(a!.broker)
  t.equal(await b!.broker.cancel(session, 'j'), 'failed')
})

t.test('a revocation waits for all living nodes', async (t) => {
  const { fixture, nodes: [a, b, c] } = await start(t, 3)
  await fixture.kill!(c!.broker)
  await a!.broker.revoke({ userId: 'u' })
  for (const { node } of [a!, b!]) t.strictSame(node.lines, ['revoke u'])
  // The node stands still: it gets the revocation, and its confirmation is never sent.
  b!.node.revoke = () => { fixture.store.stall(b!.broker) }
  const revoked = a!.broker.revoke({ userId: 'v' })
  await a!.node.until('revoke v')
  // The node's confirmation travels ahead of its next call.
  await a!.broker.currentJob(session)
  fixture.clock.advance(REVOKE_TIMEOUT_MS)
  await t.rejects(revoked, /not confirmed by node-2$/)
})

t.test('a broker that is closed delivers nothing more, but executes the calls made before', async (t) => {
  const { nodes: [a, b] } = await start(t, 2)
  await a!.broker.join(session)
  await b!.broker.join(session)
  const published = a!.broker.publish(session, json('a'), durable)
  await a!.broker.close()
  await Promise.allSettled([published])
  t.strictSame(a!.node.lines, [])
  t.strictSame(await b!.node.until('deliver'), ['deliver session:one a'])
  await t.rejects(a!.broker.publish(session, json('b'), durable))
})

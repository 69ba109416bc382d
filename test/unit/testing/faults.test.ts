import t, { type Test } from 'tap'
import type { Joined, Publication, PublishOptions } from '../../../lib/streams/broker.js'
import { brokerContract, fuzzBroker, type BrokerFixture, type FixtureOptions } from '../../../lib/testing/index.js'
import { busFixture } from '../../support/bus-fixture.js'
import { FaultyBroker, type Fault } from '../../support/faulty-broker.js'

// The tests for authors of brokers find what they are there to find: each planted fault makes a case of the contract fail, and most of
// them are found by the fuzz.

interface Planted extends Fault {
  /** Whether one broker that is called from one place shows it. Otherwise only the contract finds it. */
  readonly isFuzzed: boolean
}

const without = (name: keyof PublishOptions) => ({ [name]: _removed, ...options }: PublishOptions): PublishOptions => options as PublishOptions
const withoutReason = ({ reason: _removed, ...joined }: Joined): Joined => joined
const firstText = ({ text, ...publication }: Publication): Publication => ({ ...publication, ...text && { text: { ...text, to: Math.max(text.from, text.to - 1) } } })

const faults: Record<string, Planted> = {
  'delivers some messages twice': { isFuzzed: true, deliver: (publication, count) => count % 5 === 0 ? [publication, publication] : [publication] },
  'loses some deliveries': { isFuzzed: true, deliver: (publication, count) => count % 5 === 0 ? [] : [publication] },
  'numbers some messages wrongly': { isFuzzed: true, deliver: ({ seq, ...publication }) => [{ ...publication, seq: seq === 3 ? 4 : seq }] },
  'delivers ephemeral messages as durable': { isFuzzed: true, deliver: (publication) => [{ ...publication, durable: true }] },
  'forgets the job of messages': { isFuzzed: true, deliver: ({ jobId: _removed, ...publication }) => [publication] },
  'forgets that an end supersedes another': { isFuzzed: true, deliver: ({ supersedes: _removed, ...publication }) => [publication] },
  'changes a body': { isFuzzed: true, deliver: (publication) => [{ ...publication, body: String(publication.body).replace('é', 'e') }] },
  'cuts the text of deliveries': { isFuzzed: true, deliver: (publication) => [firstText(publication)] },
  'delivers later than a join returns': {
    isFuzzed: false,
    delay: (deliver) => { setImmediate(() => { setImmediate(() => { setImmediate(() => { setImmediate(() => { setImmediate(deliver) }) }) }) }) }
  },
  'ignores counters': { isFuzzed: true, options: without('counter') },
  'ignores offsets of text': { isFuzzed: true, options: without('from') },
  'accepts gaps in a text': { isFuzzed: true, options: (options) => options.from === undefined ? options : { ...options, truncated: true } },
  'forgets half of a surrogate pair': { isFuzzed: true, options: (options) => ({ ...options, ...options.delta !== undefined && { delta: options.delta.replace(/[\ud800-\udbff]$/, '') } }) },
  'takes a presumed end for a real one': { isFuzzed: true, options: ({ job, ...options }) => ({ ...options, ...job && { job: { ...job, presumed: false } } }) },
  'accepts repeated reports of another node\'s job': { isFuzzed: false, options: ({ job, ...options }) => ({ ...options, ...job && { job: { ...job, repeated: false } } }) },
  'keeps no short forms': { isFuzzed: false, options: without('shortForm') },
  'returns no job': { isFuzzed: true, published: ({ jobId: _removed, ...published }) => published },
  'returns no reason for a refused report': { isFuzzed: true, published: ({ dropped: _removed, ...published }) => published },
  'returns a wrong number': { isFuzzed: true, published: (published) => ({ ...published, seq: published.seq + (published.seq > 5 ? 1 : 0) }) },
  'returns no length of a text': { isFuzzed: true, published: ({ textEnd: _removed, ...published }) => published },
  'counts no recipients': { isFuzzed: true, published: (published) => ({ ...published, recipients: 0 }) },
  'recovers over a gap': { isFuzzed: true, joined: (joined) => joined.reason === 'overflow' ? { ...withoutReason(joined), recovered: true } : joined },
  'never recovers': { isFuzzed: true, joinOptions: (options) => options?.have === undefined ? undefined : { have: options.have } },
  'returns another epoch than publish': { isFuzzed: true, joined: (joined) => ({ ...joined, epoch: `${joined.epoch}x` }) },
  'returns another reason': { isFuzzed: true, joined: (joined) => ({ ...joined, ...joined.reason === 'restarted' && { reason: 'expired' } }) },
  'replays in the wrong order': { isFuzzed: true, joined: (joined) => ({ ...joined, replay: joined.replay.toReversed() }) },
  'leaves out the last message of a replay': { isFuzzed: true, joined: (joined) => ({ ...joined, replay: joined.replay.slice(0, -1) }) },
  'replays no text': { isFuzzed: true, joined: (joined) => ({ ...joined, replay: joined.replay.map(({ text: _removed, ...publication }) => publication) }) },
  'does not revoke': { isFuzzed: false, revoke: () => undefined },
  'does not cancel': { isFuzzed: false, cancel: () => true },
  'adopts jobs that do not run': { isFuzzed: true, adopt: () => true },
  'releases jobs of others': { isFuzzed: true, release: () => true },
  'knows no current job': { isFuzzed: true, currentJob: () => undefined },
  'delivers after a stream was left': { isFuzzed: true, leave: () => undefined }
}

/** Fixtures of the bus whose brokers make a fault. */
function optionsWith (fault: Fault): FixtureOptions {
  const create = (): BrokerFixture => {
    const { store, ...fixture } = busFixture(7)
    const inner = (broker: unknown): never => (broker as FaultyBroker).inner as never
    return {
      ...fixture,
      createBroker: async () => new FaultyBroker(await fixture.createBroker(), fault),
      disconnect: (broker) => { store.disconnect(inner(broker)) },
      // It may return before the broker is ready.
      reconnect: (broker) => { void store.reconnect(inner(broker)) },
      kill: (broker) => store.kill(inner(broker))
    }
  }
  return { create, hasManyNodes: true, canLose: true, canDisconnect: true, canKill: true, deadlineMs: 500 }
}

/** Returns the first case of the contract that fails. */
async function firstFailure (fault: Fault): Promise<string | undefined> {
  for (const { name, run } of brokerContract(optionsWith(fault))) {
    const error = await run().then(() => undefined, (reason: unknown) => reason)
    if (error !== undefined) return name
  }
  return undefined
}

async function isFuzzed (t: Test, name: string, fault: Fault): Promise<void> {
  await t.rejects(fuzzBroker({ ...optionsWith(fault), calls: 5_000, seed: 3 }), {
    message: /^The broker differs from the memory broker in call \d+ of seed 3: [^]+\nThe latest calls of \S+ are:\n\{"type":/
  }, `the fuzz finds a broker that ${name}`)
}

t.test('a broker without a fault passes', async (t) => {
  t.equal(await firstFailure({}), undefined)
  t.match(await fuzzBroker({ ...optionsWith({}), calls: 1_000, seed: 3 }), { calls: 1_000 })
})

for (const [name, fault] of Object.entries(faults)) {
  t.test(`a broker that ${name} fails`, async (t) => {
    const failure = await firstFailure(fault)
    t.type(failure, 'string', String(failure))
    if (fault.isFuzzed) await isFuzzed(t, name, fault)
  })
}

t.test('the seed of a fuzz is random unless it is given', async (t) => {
  const [one, two] = await Promise.all([1, 2].map(() => fuzzBroker({ create: () => busFixture(1), calls: 10 })))
  t.not(one?.seed, two?.seed)
})

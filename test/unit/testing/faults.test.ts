import t, { type Test } from 'tap'
import type { HeldTexts, Publication, PublishOptions } from '../../../lib/streams/broker.js'
import type { Transition } from '../../../lib/streams/session-jobs.js'
import { brokerContract, fuzzBroker, type BrokerFixture, type FixtureOptions } from '../../../lib/testing/index.js'
import { busFixture } from '../../support/bus-fixture.js'
import { FaultyBroker, type Fault } from '../../support/faulty-broker.js'

// The tests for authors of brokers find what they are there to find: each planted fault makes a case of the contract fail, and most of
// them are found by the fuzz.

interface Planted extends Fault {
  /** Whether one broker that is called from one place shows it. Otherwise only the contract finds it. */
  readonly isFuzzed: boolean
  /** A part of the name of a case that finds it, and its error. */
  readonly foundBy: readonly [name: string, error: RegExp]
}

const without = (name: keyof PublishOptions) => ({ [name]: _removed, ...options }: PublishOptions): PublishOptions => options as PublishOptions
const firstText = ({ text, ...publication }: Publication): Publication => ({ ...publication, ...text && { text: { ...text, to: Math.max(text.from, text.to - 1) } } })

const later = (call: () => void): void => { setTimeout(call, 20) }
const withoutOwnership = ({ ownership: _removed, ...job }: Transition): Transition => job
/** Returns a publication whose text begins one character behind what the subscriber has. */
function withoutText ({ text, ...publication }: Publication, have: HeldTexts | undefined): Publication {
  if (text === undefined) return publication
  const from = (have?.get(publication.jobId ?? '') ?? 0) + 1
  const source = { end: text.source.end, units: text.source.units, slice: (begin: number, to?: number) => text.source.slice(Math.max(begin, from), to) }
  return { ...publication, text: { ...text, source } }
}

const faults: Record<string, Planted> = {
  'delivers some messages twice': { foundBy: ['replays exactly the missed messages', /it came twice, or in the wrong order/], isFuzzed: true, deliver: (publication, count) => count % 5 === 0 ? [publication, publication] : [publication] },
  'loses some deliveries': { foundBy: ['replays exactly the missed messages', /a message is missing/], isFuzzed: true, deliver: (publication, count) => count % 5 === 0 ? [] : [publication] },
  'numbers some messages wrongly': { foundBy: ['publications are delivered once each', /instead of seq 3: a message is missing/], isFuzzed: true, deliver: ({ seq, ...publication }) => [{ ...publication, seq: seq === 3 ? 4 : seq }] },
  'delivers ephemeral messages as durable': { foundBy: ['publications are delivered once each', /instead of seq 1: a message is missing/], isFuzzed: true, deliver: (publication) => [{ ...publication, durable: true }] },
  'forgets the job of messages': { foundBy: ['that is started without an id', /the deliveries: /], isFuzzed: true, deliver: ({ jobId: _removed, ...publication }) => [publication] },
  'forgets that an end supersedes another': { foundBy: ['can really end once', /both ends: /], isFuzzed: true, deliver: ({ supersedes: _removed, ...publication }) => [publication] },
  'changes a body': { foundBy: ['arrives unchanged', /the delivery of [^]* in session:__proto__ did not happen/], isFuzzed: true, deliver: (publication) => [{ ...publication, body: String(publication.body).replace('é', 'e') }] },
  'cuts the text of deliveries': { foundBy: ['is delivered piece by piece', /the delivered pieces: /], isFuzzed: true, deliver: (publication) => [firstText(publication)] },
  'delivers later than a join returns': {
    foundBy: ['is a barrier', /a join returned revision \d+, and then the broker delivered .* \(revision/],
    isFuzzed: false,
    delay: (deliver) => { setImmediate(() => { setImmediate(() => { setImmediate(() => { setImmediate(() => { setImmediate(deliver) }) }) }) }) }
  },
  'ignores counters': { foundBy: ['returns the first result', /the result of the repeated publication 0: /], isFuzzed: true, options: without('counter') },
  'ignores keys': { foundBy: ['whose key was used', /the result of the repeated publication 0: /], isFuzzed: true, options: without('key') },
  'does not compare the requests of a key': { foundBy: ['a key belongs to one request', /the same key with another request: /], isFuzzed: true, options: ({ key, ...options }) => ({ ...options, ...key && { key: { ...key, request: '' } } }) },
  'does not say that a result is repeated': { foundBy: ['once by all nodes together', /the results of round 1 that are not repeated: /], isFuzzed: true, published: ({ repeated: _removed, ...published }) => published },
  'ignores offsets of text': { foundBy: ['is cut, so that nothing', /the delivered pieces: /], isFuzzed: true, options: without('from') },
  'accepts gaps in a text': { foundBy: ['after a gap is refused', /a progress at 1: /], isFuzzed: true, options: (options) => options.from === undefined ? options : { ...options, truncated: true } },
  'forgets half of a surrogate pair': { foundBy: ['stays held back after', /the delivered pieces: /], isFuzzed: true, options: (options) => ({ ...options, ...options.delta !== undefined && { delta: options.delta.replace(/[\ud800-\udbff]$/, '') } }) },
  'takes a presumed end for a real one': { foundBy: ['can really end once', /the real end: /], isFuzzed: true, options: ({ job, ...options }) => ({ ...options, ...job && { job: { ...job, presumed: false } } }) },
  'accepts repeated reports of another node\'s job': { foundBy: ['is refused if another node owns', /a repeated report of the previous owner: /], isFuzzed: false, options: ({ job, ...options }) => ({ ...options, ...job && { job: { ...job, repeated: false } } }) },
  'keeps no short forms': { foundBy: ['short form is kept in its place', /the replay with recovered false: /], isFuzzed: false, options: without('shortForm') },
  'returns no job': { foundBy: ['that is started without an id', /the result of the start has no jobId/], isFuzzed: true, published: ({ jobId: _removed, ...published }) => published },
  'returns no reason for a refused report': { foundBy: ['breaks the rules of its job', /\{"event":"start","jobId":"j"\}: /], isFuzzed: true, published: ({ dropped: _removed, ...published }) => published },
  'returns a wrong number': { foundBy: ['keep the order of the calls', /the numbers of the results: /], isFuzzed: true, published: (published) => ({ ...published, seq: published.seq + (published.seq > 5 ? 1 : 0) }) },
  'counts no recipients': { foundBy: ['number of recipients', /./], isFuzzed: true, published: (published) => ({ ...published, recipients: 0 }) },
  'recovers over a gap': { foundBy: ['more messages than', /./], isFuzzed: true, joined: ({ reason, ...joined }) => reason === 'overflow' ? { ...joined, recovered: true } : { ...joined, reason } },
  'returns no length of a text': { foundBy: ['how much of a job', /textEnd of the results: /], isFuzzed: true, published: ({ textEnd: _removed, ...published }) => published },
  'never recovers': { foundBy: ['missed nothing is recovered', /the first join: /], isFuzzed: true, joinOptions: (options) => options?.have === undefined ? undefined : { have: options.have } },
  'returns another epoch than publish': { foundBy: ['both return the latest position', /the positions of the results: /], isFuzzed: true, joined: (joined) => ({ ...joined, epoch: `${joined.epoch}x` }) },
  'returns another reason': { foundBy: ['two stores never share', /a join with a position of the other store: /], isFuzzed: true, joined: (joined) => ({ ...joined, ...joined.reason === 'restarted' && { reason: 'expired' } }) },
  'replays in the wrong order': { foundBy: ['replays exactly the missed messages', /the replay from 0, once: /], isFuzzed: true, joined: (joined) => ({ ...joined, replay: joined.replay.toReversed() }) },
  'leaves out the last message of a replay': { foundBy: ['replays exactly the missed messages', /the replay from 0, once: /], isFuzzed: true, joined: (joined) => ({ ...joined, replay: joined.replay.slice(0, -1) }) },
  'replays no text': { foundBy: ['replayed in full to a late subscriber', /the text in the replay: /], isFuzzed: true, joined: (joined) => ({ ...joined, replay: joined.replay.map(({ text: _removed, ...publication }) => publication) }) },
  'does not revoke': { foundBy: ['on every node before revoke settles', /the revocations of each node, after 1: /], isFuzzed: false, revoke: () => undefined },
  'does not cancel': { foundBy: ['only the node that owns the job', /the result of the owner: |the cancels of the owner: /], isFuzzed: false, cancel: () => true },
  'adopts jobs that do not run': { foundBy: ['has no effect on any other', /adopt of the job "j", which does not run: /], isFuzzed: true, adopt: () => true },
  'releases jobs of others': { foundBy: ['release gives up a job', /release of a node that does not own it: /], isFuzzed: true, release: () => true },
  'knows no current job': { foundBy: ['that is started without an id', /the current job: /], isFuzzed: true, currentJob: () => undefined },
  'delivers after a stream was left': { foundBy: ['resubscribes after the last', /to a node that has not joined the stream, has left it or is closed/], isFuzzed: true, leave: () => undefined },
  'delivers a stream that was not joined': { foundBy: ['before it joins', /the deliveries: /], isFuzzed: false, joins: 'session:one' },
  'delivers after it was closed': { foundBy: ['whatever is called', /the events after close: /], isFuzzed: false, close: () => undefined },
  'leaves out text that a subscriber does not have': { foundBy: ['has the beginning of a text', /the text of a from 4 on, for a subscriber that has 4 units: /], isFuzzed: true, joined: (joined, { have }) => ({ ...joined, replay: joined.replay.map((publication) => withoutText(publication, have)) }) },
  'does not report a restart': { foundBy: ['is reported once', /the calls of restarted for session:one, after loss 1: /], isFuzzed: false, node: () => ({ restarted: () => undefined }) },
  'reports a restart twice': { foundBy: ['is reported once', /the calls of restarted for session:one, after loss 1: /], isFuzzed: false, node: (node) => ({ restarted: (stream) => { for (let i = 0; i < 2; i++) node.restarted(stream) } }) },
  'reports a restart late': { foundBy: ['no join is answered before the owner', /it came twice, or in the wrong order/], isFuzzed: false, node: (node) => ({ restarted: (stream) => { later(() => { node.restarted(stream) }) } }) },
  'does not let a node publish its jobs again': { foundBy: ['without them', /the snapshot: /], isFuzzed: false, node: () => ({ reseed: () => undefined }) },
  'does not wait until a node has published its jobs again': { foundBy: ['other publications of a node wait', /the deliveries after the loss: /], isFuzzed: false, node: (node) => ({ reseed: () => { void node.reseed() } }) },
  'does not say that it can lose history': { foundBy: ['can lose history says so', /canLoseHistory: /], isFuzzed: false, canLoseHistory: false },
  'does not say that another node owns a job': { foundBy: ['a refused start makes', /the call of disowned for j did not happen/], isFuzzed: false, node: () => ({ disowned: () => undefined }) },
  'says twice that another node owns a job': { foundBy: ['a refused start makes', /the number of calls of disowned of each node: /], isFuzzed: false, node: (node) => ({ disowned: (...args) => { for (let i = 0; i < 2; i++) node.disowned(...args) } }) },
  'does not report orphaned jobs': { foundBy: ['is orphaned, and its presumed end', /the call of orphaned for j did not happen/], isFuzzed: false, node: () => ({ orphaned: () => undefined }) },
  'reports another ownership': { foundBy: ['is orphaned, and its presumed end', /the presumed end: /], isFuzzed: false, node: (node) => ({ orphaned: (stream, jobId, ownership) => { node.orphaned(stream, jobId, `${ownership}x`) } }) },
  'ignores the ownership of a presumed end': { foundBy: ['stays refused when it is repeated', /the reasons: /], isFuzzed: false, options: ({ job, ...options }) => ({ ...options, ...job && { job: withoutOwnership(job) } }) },
  'revokes late': { foundBy: ['on every node before revoke settles', /the revocations of each node, after 1: /], isFuzzed: false, node: (node) => ({ revoke: (revocation) => { later(() => { node.revoke(revocation) }) } }) },
  'answers with the first node only': { foundBy: ['is answered by every node once', /the answers: /], isFuzzed: false, answers: ({ answers, missing }) => ({ answers: answers.slice(0, 1), missing }) },
  'asks only others': { foundBy: ['is answered by this node', /the answers: /], isFuzzed: false, answers: ({ answers, missing }) => ({ answers: answers.slice(1), missing }) },
  'gives all nodes one name': { foundBy: ['the answers name the nodes', /the number of different names: /], isFuzzed: false, answers: ({ answers, missing }) => ({ answers: answers.map((one) => ({ ...one, node: 'node' })), missing }) },
  'hides missing nodes': { foundBy: ['is missing among the answers', /the answers to the connected node: /], isFuzzed: false, answers: ({ answers }) => ({ answers, missing: [] }) },
  'does not wait for a revocation': { foundBy: ['revoke rejects if a node', /revoke resolved, although a node was disconnected/], isFuzzed: false, revoked: (revoked) => { Promise.resolve(revoked).catch(() => undefined) } },
  'does not report its status': { foundBy: ['reports its status', /a status other than ready did not happen/], isFuzzed: false, node: () => ({ statusChanged: () => undefined }) },
  'is always ready': { foundBy: ['reports its status', /the status is ready, although/], isFuzzed: false, status: () => ({ state: 'ready' }) },
  'returns fewer recipients than it delivered to': { foundBy: ['at least those of this node', /but publish returned 0 recipients/], isFuzzed: false, published: (published) => ({ ...published, recipients: 0 }) },
  'returns recipients that do not exist': { foundBy: ['0 if no node has any', /a publish to a stream without subscribers: /], isFuzzed: false, published: (published) => ({ ...published, recipients: published.recipients + 1 }) },
  'mixes two streams': { foundBy: ['streams are independent', /the deliveries of the other stream: /], isFuzzed: false, node: (node) => ({ deliver: (stream, publication) => node.deliver(stream === 'session:one' ? 'session:two' : stream, publication) }) },
  'has an epoch that clients cannot send back': { foundBy: ['1 to 64 characters', /the epoch ".*" of session:é💡 contains other characters/], isFuzzed: false, joined: (joined) => ({ ...joined, epoch: `${joined.epoch} é` }) },
  'throws if a stream is left': { foundBy: ['that was not joined does nothing', /nobody has joined it/], isFuzzed: false, leave: (leave) => { leave(); throw new Error('nobody has joined it') } },
  'claims not to support an option': { foundBy: ['names the options', /the names in the broker/], isFuzzed: false, unsupported: ['history.maxTotalBytes'] }
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

async function isFuzzed (t: Test, name: string, fault: Fault): Promise<void> {
  await t.rejects(fuzzBroker({ ...optionsWith(fault), calls: 5_000, seed: 3 }), {
    message: /^The broker differs from the memory broker in call \d+ of seed 3: [^]+\nThe latest calls of \S+ are:\n\{"type":/
  }, `the fuzz finds a broker that ${name}`)
}

t.test('a broker without a fault passes', async (t) => {
  const failed: string[] = []
  for (const { name, run } of brokerContract({ ...optionsWith({}), deadlineMs: 10_000 })) await run().catch(() => { failed.push(name) })
  t.same(failed, [])
  // The calls of few seeds leave a stream that was never published to.
  t.match(await fuzzBroker({ ...optionsWith({}), calls: 1_000, seed: 39 }), { calls: 1_000, counts: { 'leave: never published to': 2 } })
})

for (const [name, fault] of Object.entries(faults)) {
  t.test(`a broker that ${name} fails`, async (t) => {
    const [part, message] = fault.foundBy
    const [found, ...others] = brokerContract(optionsWith(fault)).filter(({ name }) => name.includes(part))
    t.same(others, [], 'one case has this name')
    await t.rejects(found!.run(), { message }, found!.name)
    if (fault.isFuzzed) await isFuzzed(t, name, fault)
  })
}

t.test('the fuzz sets no limit that the broker does not support', async (t) => {
  t.match(await fuzzBroker({ ...optionsWith({}), calls: 300, unsupported: ['history.maxMessages'] }), { calls: 300 })
})

t.test('the seed of a fuzz is random unless it is given', async (t) => {
  const [one, two] = await Promise.all([1, 2].map(() => fuzzBroker({ create: () => busFixture(1), calls: 10 })))
  t.not(one?.seed, two?.seed)
})

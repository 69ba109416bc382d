import t from 'tap'
import type { Broker, BrokerNode, Joined, Publication, Published } from '../../../lib/streams/broker.js'
import { CheckedBroker } from '../../../lib/streams/checked-broker.js'
import { FakeClock } from '../../support/fake-clock.js'
import { turn } from '../../support/hand-broker.js'
import { idleNode } from '../../support/idle-node.js'
import { brokerSettings, memoryBroker } from '../../support/memory-broker.js'
import { TestServer } from '../../support/server.js'

const revoked = Proxy.revocable({}, {})
revoked.revoke()

const published: Published = { epoch: 'e', seq: 1, recipients: 0 }
const publication: Publication = { body: '{"type":"x"}', durable: true, revision: 1, seq: 1 }
const joined: Joined = { epoch: 'e', seq: 1, revision: 1, recovered: true, replay: [publication] }
const text = { source: { end: 4, units: 4, slice: () => ({ text: '', offset: 0, truncated: false }) }, from: 0, to: 4 }
const progress = { ...publication, body: '{"type":"x","progress":{}}', durable: false, seq: undefined, jobId: 'j', text }

/** Results that violate the contract, by method. */
const garbage: Record<'publish' | 'join' | 'currentJob' | 'adopt' | 'release' | 'cancel' | 'ask', Record<string, unknown>> = {
  publish: {
    'nothing': undefined, 'null': null, 'a text': 'ok', 'no epoch': { ...published, epoch: undefined }, 'an empty epoch': { ...published, epoch: '' },
    'a seq that is no number': { ...published, seq: NaN }, 'a negative seq': { ...published, seq: -1 }, 'no recipients': { ...published, recipients: undefined },
    'a job that is no text': { ...published, jobId: 7 }, 'a length that is no number': { ...published, textEnd: '7' }, 'a drop without a reason': { ...published, dropped: true }, 'what can\'t be read': revoked.proxy
  },
  join: {
    'nothing': undefined, 'null': null, 'a text': 'ok', 'no epoch': { ...joined, epoch: undefined }, 'a seq that is no number': { ...joined, seq: NaN },
    'no revision': { ...joined, revision: undefined }, 'no replay': { ...joined, replay: undefined }, 'a replay that is not an array': { ...joined, replay: 'x' },
    'no recovered': { ...joined, recovered: undefined }, 'a reason that is no text': { ...joined, reason: 7 },
    'a replay of null': { ...joined, replay: [null] }, 'a body that is no text': { ...joined, replay: [publication, { ...publication, body: {} }] },
    'a body that is no object': { ...joined, replay: [{ ...publication, body: '[]' }] }, 'no revision of a message': { ...joined, replay: [{ ...publication, revision: 'x' }] },
    'a message without durable': { ...joined, replay: [{ ...publication, durable: undefined }] },
    'a message\'s seq': { ...joined, replay: [{ ...publication, seq: 0.5 }] }, 'a message\'s job': { ...joined, replay: [{ ...publication, jobId: 7 }] },
    'a message\'s text': { ...joined, replay: [{ ...publication, text: 'x' }] },
    'a message\'s text without a source': { ...joined, replay: [{ ...publication, text: { source: {}, from: 0, to: 1 } }] },
    'text for a body without an object at its end': { ...joined, replay: [{ ...publication, text }] },
    'what can\'t be read': revoked.proxy
  },
  currentJob: { 'null': null, 'a number': 7, 'an object': {}, 'what can\'t be read': revoked.proxy },
  adopt: { 'nothing': undefined, 'null': null, 'a number': 1, 'a text': 'yes', 'what can\'t be read': revoked.proxy },
  release: { 'nothing': undefined, 'null': null, 'a number': 1, 'a text': 'yes', 'what can\'t be read': revoked.proxy },
  cancel: { 'nothing': undefined, 'null': null, 'a number': 1, 'a text': 'yes', 'what can\'t be read': revoked.proxy },
  ask: {
    'nothing': undefined, 'null': null, 'no answers': { missing: [] }, 'an answer of null': { answers: [null], missing: [] }, 'an answer without a node': { answers: [{ answer: '' }], missing: [] },
    'an answer that is no text': { answers: [{ node: 'a', answer: 1 }], missing: [] }, 'no missing nodes': { answers: [] }, 'a missing node that is no text': { answers: [], missing: [1] },
    'what can\'t be read': revoked.proxy
  }
}

/** A memory broker that returns given values on demand. */
function createServer (isAsync: boolean): { server: TestServer<Broker>, answer: (method: keyof typeof garbage, value: unknown) => void } {
  const answers = new Map<string, unknown>()
  const server = new TestServer<Broker>((clock) => {
    const memory = memoryBroker(clock)
    const say = (method: keyof typeof garbage, right: unknown): never => {
      const value = answers.has(method) ? answers.get(method) : right
      return (isAsync ? Promise.resolve(value) : value) as never
    }
    return {
      open: (node) => { memory.open(node) },
      publish: (stream, body, options) => say('publish', memory.publish(stream, body, options)),
      join: (stream, options) => say('join', memory.join(stream, options)),
      leave: (stream) => { memory.leave(stream) },
      currentJob: (stream) => say('currentJob', memory.currentJob(stream)),
      adopt: (stream, jobId) => say('adopt', memory.adopt(stream, jobId)),
      release: (stream, jobId) => say('release', memory.release(stream, jobId)),
      revoke: (revocation) => { memory.revoke(revocation) },
      cancel: (stream, jobId) => say('cancel', memory.cancel(stream, jobId)),
      ask: (question) => say('ask', memory.ask(question)),
      close: () => { memory.close() }
    }
  }, { allowCancel: true })
  return { server, answer: (method, value) => { answers.set(method, value) } }
}

t.test('a result that violates the contract is treated like a rejection', async (t) => {
  for (const isAsync of [false, true]) {
    for (const [method, values] of Object.entries(garbage)) {
      for (const [what, value] of Object.entries(values)) {
        const { server, answer } = createServer(isAsync)
        const peer = await server.connect()
        answer(method as keyof typeof garbage, value)
        const title = `${method}${isAsync ? ', later' : ''}: ${what}`
        if (method === 'publish') {
          await t.rejects(server.manager.notifyAIStart('s', {}), what.includes('read') ? TypeError : { code: 'AICW_ERR_BROKER_ANSWER' }, title)
        } else if (method === 'ask') {
          await t.rejects(server.manager.getClusterStats(), what.includes('read') ? TypeError : { code: 'AICW_ERR_BROKER_ANSWER' }, title)
        } else if (method === 'adopt' || method === 'release') {
          const job = server.manager.startAI('s', {})
          await job.started
          const call: Promise<unknown> = method === 'adopt' ? server.manager.adoptAI('s', job.jobId) : job.transfer()
          await t.rejects(call, what.includes('read') ? TypeError : { code: 'AICW_ERR_BROKER_ANSWER' }, title)
        } else {
          peer.send(method === 'join' ? { type: 'subscribe', sessionId: 's' } : { type: 'cancel', sessionId: 's', ...(method === 'cancel' && { jobId: 'j' }) })
          await turn()
          t.match(peer.take(), [{ type: 'error', code: 'unavailable', sessionId: 's' }], title)
          t.equal(peer.connection.subscriptions.size, 0)
          t.equal(server.hub.count('session:s'), 0, 'no subscription remains')
        }
        if (!what.includes('read')) {
          t.match(server.log.entries.at(-1), { level: 'error', fields: { err: { code: 'AICW_ERR_BROKER_ANSWER', message: new RegExp(`the broker's ${method} violates the Broker contract: `) } } })
        }
        if (method === 'join') await t.rejects(server.connect({ sessionId: 's' }), Error, 'a new connection is refused')
      }
    }
  }
})

t.test('a valid result is passed on unchanged', async (t) => {
  const answers = {
    publish: [published, { ...published, jobId: 'j' }, { ...published, dropped: 'ended', seq: 0 }],
    join: [joined, { ...joined, replay: [] }, { ...joined, recovered: false, reason: 'expired', replay: [progress] }],
    currentJob: [undefined, 'j'],
    adopt: [true, false],
    release: [true, false],
    revoke: [undefined],
    cancel: [true, false, 'failed'],
    ask: [{ answers: [], missing: [] }, { answers: [{ node: 'a', answer: '' }], missing: ['b'] }]
  }
  let answer: unknown
  const inner = { publish: () => answer, join: () => answer, currentJob: () => answer, adopt: () => answer, release: () => answer, revoke: () => answer, cancel: () => answer, ask: () => answer, bytes: 7, leave: () => undefined, close: () => undefined }
  const broker = new CheckedBroker(inner as unknown as Broker, () => undefined)
  t.equal(broker.bytes, 7)
  t.equal(new CheckedBroker({} as Broker, () => undefined).bytes, 0)
  const evicted = { messages: 1, starts: 0, texts: 0, ends: 0, shortened: 0, streams: 0 }
  t.same(new CheckedBroker({ evicted } as unknown as Broker, () => undefined).evicted, evicted)
  t.same(new CheckedBroker({} as Broker, () => undefined).evicted, { ...evicted, messages: 0 })
  t.equal(broker.close(), undefined)
  for (const [method, values] of Object.entries(answers)) {
    for (answer of values) t.equal((broker as unknown as Record<string, (stream: string) => unknown>)[method]!('session:s'), answer)
  }
})

t.test('errors that reach no caller are reported: a leave that throws, and an invalid publication', async (t) => {
  const faults: unknown[] = []
  const delivered: unknown[] = []
  const restarts: string[] = []
  let node: BrokerNode | undefined
  const inner = {
    open: (given: BrokerNode) => { node = given },
    leave: () => { throw new Error('no') }
  }
  const broker = new CheckedBroker(inner as unknown as Broker, (fault) => { faults.push(fault) })
  void broker.open(idleNode({
    deliver: (...args) => {
      delivered.push(args)
      return 3
    },
    restarted: (stream) => { restarts.push(stream) },
    statusChanged: ({ state }) => { restarts.push(state) }
  }), brokerSettings(new FakeClock()))
  node!.statusChanged({ state: 'unavailable' })
  t.same(restarts.splice(0), ['unavailable'])
  node!.statusChanged(undefined as never)
  t.match(faults.splice(0), [{ code: 'AICW_ERR_BROKER_ANSWER', message: /statusChanged/ }])
  node!.restarted('session:s')
  t.same(restarts, ['session:s'])
  t.equal(node!.deliver('all', publication), 3)
  t.same(delivered, [['all', publication]])
  t.equal(node!.deliver('all', { body: 7 } as never), 0)
  t.equal(delivered.length, 1)
  const bytes = { ...publication, body: new TextEncoder().encode('{"type":"x"}') }
  t.equal(node!.deliver('all', bytes), 3)
  t.equal(node!.deliver('all', { ...bytes, text }), 0, 'no object for the text')
  t.equal(node!.deliver('all', { ...bytes, body: new Uint8Array() }), 0)
  broker.leave('all')
  const invalid = { code: 'AICW_ERR_BROKER_ANSWER', message: /deliver/ }
  t.match(faults, [invalid, invalid, invalid, { message: 'no' }])
})

t.test('the status of a broker is validated, and a broker without one is ready', (t) => {
  const statusOf = (status?: unknown): unknown => new CheckedBroker({ ...status !== undefined && { status: () => status } } as unknown as Broker, () => undefined).status()
  t.same(statusOf(), { state: 'ready' })
  for (const status of [{ state: 'degraded', reason: 'far' }, { state: 'unavailable' }]) t.equal(statusOf(status), status)
  const faults: unknown[] = []
  for (const status of [null, 'ready', { state: 'lost' }, { state: 'ready', reason: 7 }]) {
    t.match(new CheckedBroker({ status: () => status } as unknown as Broker, (fault) => { faults.push(fault) }).status(), { state: 'degraded', reason: /invalid/ })
  }
  t.match(faults, Array.from({ length: 4 }, () => ({ code: 'AICW_ERR_BROKER_ANSWER' })))
  t.match(new CheckedBroker({ status: () => { throw new Error('no') } } as unknown as Broker, (fault) => { faults.push(fault) }).status(), { state: 'degraded' })
  t.match(faults.at(-1), { message: 'no' })
  t.equal(new CheckedBroker({} as Broker, () => undefined).canLoseHistory, false)
  t.equal(new CheckedBroker({ canLoseHistory: true } as Broker, () => undefined).canLoseHistory, true)
  t.end()
})

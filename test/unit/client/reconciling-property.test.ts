import fc from 'fast-check'
import t from 'tap'
import { clientOn, FakePage, type FakeSocket } from '../../support/fake-page.js'
import type { Message } from '../../support/ws-client.js'

const IDS = ['a', 'b', 'c']
/** Fewer than there are sessions, so that some have to wait. */
const ROOM = 2
const LIMITS = { sessions: ROOM, messagesPerSecond: 50, burst: 100, messageBytes: 65_536 }

/**
 * A server behind a slow network: messages arrive later in both directions, in order, and a reply may take time. It follows the
 * protocol's rules for several requests about one session.
 */
class SlowServer {
  readonly held = new Set<string>()
  /** The latest undecided request of each session. */
  readonly #deciding = new Map<string, object>()
  readonly #page: FakePage
  readonly #socket: FakeSocket
  readonly #latencies: () => number
  readonly #verdicts: () => string
  #read = 0
  #arrivesAt = [0, 0]

  constructor (page: FakePage, latencies: () => number, verdicts: () => string) {
    this.#page = page
    this.#socket = page.socket
    this.#latencies = latencies
    this.#verdicts = verdicts
  }

  /** Puts the messages that the client has sent on the network. */
  poll (): void {
    for (const message of this.#socket.sent.slice(this.#read)) {
      this.#read++
      this.#travel(0, () => { this.#take(message) })
    }
  }

  #travel (direction: 0 | 1, arrive: () => void): void {
    const { clock } = this.#page
    this.#arrivesAt[direction] = Math.max(this.#arrivesAt[direction]! + 1, clock.monotonic() + this.#latencies())
    clock.after(this.#arrivesAt[direction] - clock.monotonic(), () => { if (this.#page.socket === this.#socket) arrive() })
  }

  #say (message: object): void {
    this.#travel(1, () => { this.#socket.say(message) })
  }

  #take ({ type, sessionId, sessions = [sessionId] }: Message): void {
    if (type === 'ping') {
      this.#say({ type: 'pong', timestamp: 't' })
      return
    }
    for (const entry of sessions as Array<string | { sessionId: string }>) {
      const id = typeof entry === 'string' ? entry : entry.sessionId
      if (type === 'unsubscribe') {
        this.held.delete(id)
        this.#deciding.delete(id)
        this.#say({ type: 'unsubscribed', sessionId: id, timestamp: 't' })
      } else if (type === 'subscribe') {
        this.#decide(id)
      }
    }
  }

  #decide (id: string): void {
    const request = {}
    const refuse = (code: string): void => { this.#say({ type: 'error', code, message: 'no', timestamp: 't', request: 'subscribe', sessionId: id }) }
    const taken = new Set([...this.held, ...this.#deciding.keys()])
    if (!taken.has(id) && taken.size >= ROOM) {
      refuse('too_many_sessions')
      return
    }
    this.#deciding.set(id, request)
    this.#page.clock.after(this.#latencies(), () => {
      if (this.#deciding.get(id) !== request) return
      this.#deciding.delete(id)
      const verdict = this.#verdicts()
      if (verdict === 'yes') {
        this.held.add(id)
        this.#say({ type: 'subscribed', sessionId: id, timestamp: 't', epoch: 'e', seq: 0, recovered: false, reason: 'new', replaying: 0 })
      } else {
        if (verdict === 'forbidden') this.held.delete(id)
        refuse(verdict)
      }
    })
  }
}

t.test('client and server end with the same subscriptions, whatever the order of calls, replies, disconnects and delays', async () => {
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.record({ do: fc.constant('want' as const), id: fc.constantFrom(...IDS) }) },
    { weight: 5, arbitrary: fc.record({ do: fc.constant('release' as const), at: fc.nat(20) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('unsubscribe' as const), id: fc.constantFrom(...IDS, undefined) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('cut' as const) }) }
  )
  const latencies = fc.infiniteStream(fc.nat(60))
  const verdicts = fc.infiniteStream(fc.oneof({ weight: 2, arbitrary: fc.constant('yes') }, fc.constantFrom('forbidden', 'unavailable')))
  await fc.assert(fc.asyncProperty(fc.array(fc.tuple(step, fc.nat(40)), { maxLength: 40 }), latencies, verdicts, async (steps, lags, answers) => {
    const page = new FakePage()
    const client = clientOn(page, { reconnectInterval: 40, maxReconnectAttempts: 1000 })
    client.connect()
    let isCalm = false
    let server: SlowServer | undefined
    let holds: Array<{ id: string, release: () => void }> = []
    const latency = (): number => lags.next().value as number
    const pass = (ms: number): void => {
      for (let passed = 0; passed <= ms; passed += 5) {
        if (client.state === 'connecting') {
          server = new SlowServer(page, latency, () => isCalm ? 'yes' : answers.next().value as string)
          const { sessionId } = page.socket.query
          if (sessionId !== undefined) server.held.add(sessionId)
          page.socket.admit({ limits: LIMITS, ...(sessionId !== undefined && { sessionId, epoch: 'e', seq: 0, recovered: false, reason: 'new', replaying: 0 }) })
        }
        server?.poll()
        page.clock.advance(5)
      }
    }
    for (const [step, ms] of steps) {
      if (step.do === 'want') {
        holds.push({ id: step.id, release: client.subscribe(step.id) })
      } else if (step.do === 'release') {
        const [hold] = holds.splice(step.at % (holds.length || 1), 1)
        hold?.release()
      } else if (step.do === 'unsubscribe') {
        client.unsubscribe(step.id)
        holds = holds.filter(({ id }) => step.id !== undefined && id !== step.id)
      } else if (client.state === 'connected') {
        page.socket.end()
      }
      pass(ms)
    }
    isCalm = true
    pass(35_000)

    const statusOf = (id: string): string => client.jobStore(id).getSnapshot().subscription
    const wanted = new Set(holds.map(({ id }) => id))
    const held = [...server!.held]
    const refused = [...wanted].filter((id) => statusOf(id) === 'refused')
    return IDS.every((id) => wanted.has(id) || statusOf(id) === 'none') &&
      held.every((id) => wanted.has(id) && statusOf(id) === 'subscribed') &&
      held.length === Math.min(ROOM, wanted.size - refused.length) &&
      [...wanted].every((id) => held.includes(id) || ['waiting', 'refused'].includes(statusOf(id)))
  }), { numRuns: 500 })
})

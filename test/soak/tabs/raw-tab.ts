import { WebSocket } from 'ws'
import { reconnectRule } from '../../../lib/protocol/codes.js'
import { Reader } from '../../support/reader.js'
import type { Message } from '../../support/ws-client.js'
import type { Line } from '../line.js'
import { mayRead } from '../world.js'
import { JobWatch } from './job-watch.js'
import { readMessage, type Heads, type Tab, type TabOptions } from './tab.js'

interface Followed {
  /** `denied`: the server revoked the right, or refused the subscription. */
  phase: 'wanted' | 'asking' | 'following' | 'leaving' | 'denied'
  jobs: JobWatch
}

/** A tab whose client was written from the protocol's README alone. It recovers with `since` and `have`. */
export class RawTab implements Tab {
  readonly name: string
  readonly userId: string
  readonly line: Line
  readonly #options: TabOptions
  readonly #reader = new Reader()
  readonly #followed = new Map<string, Followed>()
  #ws: WebSocket | undefined
  #inQuery: string | undefined
  #isConnected = false
  #isClosed = false
  #isRefused = false

  constructor (options: TabOptions) {
    this.#options = options
    this.name = options.name
    this.userId = options.userId
    this.line = options.line
    for (const sessionId of options.sessions) this.#want(sessionId)
    this.#connect()
  }

  get subscriptions (): readonly string[] {
    return [...this.#followed].filter(([, { phase }]) => phase === 'following').map(([sessionId]) => sessionId)
  }

  follow (sessionId: string): void {
    if (this.#followed.has(sessionId)) return
    this.#want(sessionId)
    if (this.#isConnected) this.#ask(sessionId)
  }

  leave (sessionId: string): void {
    const followed = this.#followed.get(sessionId)
    if (followed?.phase !== 'following') return
    this.#forget(sessionId, followed)
    followed.phase = 'leaving'
    this.#send({ type: 'unsubscribe', sessionId })
  }

  askAgain (sessionId: string): void {
    if (this.#followed.get(sessionId)?.phase === 'following') this.#ask(sessionId)
  }

  cancel (sessionId: string): void {
    this.#send({ type: 'cancel', sessionId })
  }

  trespass (sessionId: string): void {
    this.#send({ type: 'subscribe', sessionId })
  }

  pause (ms: number): void {
    const ws = this.#ws
    if (!this.#isConnected || ws === undefined) return
    ws.pause()
    setTimeout(() => { ws.resume() }, ms).unref()
  }

  missing (heads: Heads): string | undefined {
    const { ledger } = this.#options
    if (ledger.isRevoked(this.userId)) return this.#isRefused ? undefined : 'its user was revoked, and it is not refused'
    if (!this.#isConnected) return 'it is not connected'
    const user = this.#lag('user', heads.get(`user:${this.userId}`))
    if (user !== undefined) return user
    for (const [sessionId, { phase, jobs }] of this.#followed) {
      const isRevoked = ledger.isRevoked(this.userId, sessionId)
      if (isRevoked !== (phase === 'denied')) return isRevoked ? `${sessionId} was revoked, and it is ${phase}` : `it was denied ${sessionId}`
      if (isRevoked) continue
      if (phase !== 'following') return `${sessionId} is ${phase}`
      const lag = this.#lag(`session:${sessionId}`, heads.get(`session:${sessionId}`))
      if (lag !== undefined) return lag
      if (jobs.overdue.length > 0) return `${sessionId} lacks the real end of ${jobs.overdue.join(', ')}`
      if (jobs.running.length > 0) return `${sessionId} still shows as running: ${jobs.running.join(', ')}`
    }
    return undefined
  }

  close (): void {
    this.#isClosed = true
    this.#ws?.terminate()
  }

  #want (sessionId: string): void {
    const { name, journal, ledger } = this.#options
    this.#followed.set(sessionId, { phase: 'wanted', jobs: new JobWatch(name, sessionId, journal, ledger) })
  }

  #forget (sessionId: string, { jobs }: Followed): void {
    this.#reader.views.delete(`session:${sessionId}`)
    this.#reader.gaps.delete(sessionId)
    for (const jobId of jobs.jobIds) this.#reader.texts.delete(jobId)
  }

  #lag (stream: string, head: { epoch: string, seq: number } | undefined): string | undefined {
    if (head === undefined) return undefined
    const place = this.#reader.view(stream).place
    if (place?.epoch === head.epoch && place.seq >= head.seq) return undefined
    return `${stream} is at ${place === undefined ? 'no place' : `${place.epoch}:${place.seq}`}, its head is ${head.epoch}:${head.seq}`
  }

  #connect (): void {
    if (this.#isClosed) return
    const { random, journal } = this.#options
    const query = new URLSearchParams({ token: this.userId })
    for (const [sessionId, followed] of this.#followed) {
      if (followed.phase === 'leaving') this.#followed.delete(sessionId)
      else if (followed.phase !== 'denied') followed.phase = 'wanted'
    }
    this.#inQuery = random.chance(0.7) ? [...this.#followed].find(([, { phase }]) => phase === 'wanted')?.[0] : undefined
    if (this.#inQuery !== undefined) {
      query.set('sessionId', this.#inQuery)
      this.#followed.get(this.#inQuery)!.phase = 'asking'
      const since = this.#reader.since(`session:${this.#inQuery}`)
      if (since !== undefined) {
        query.set('since', since)
        query.set('have', JSON.stringify(this.#reader.have))
      }
    }
    const userSince = this.#reader.since('user')
    if (userSince !== undefined) query.set('userSince', userSince)
    const ws = this.#ws = new WebSocket(`ws://127.0.0.1:${this.line.port}/ws?${query.toString()}`, {
      perMessageDeflate: random.chance(0.5), handshakeTimeout: 3_000
    })
    ws.on('message', (data: Buffer) => {
      if (ws !== this.#ws || this.#isClosed) return
      const message = readMessage(data.toString(), journal)
      journal.check(`a reader sees each message once and in order (${this.name})`, () => { this.#take(message) })
    })
    ws.on('error', () => { /* the close event follows */ })
    ws.on('close', (code) => { this.#ended(code) })
  }

  #ended (code: number): void {
    this.#isConnected = false
    const rule = reconnectRule(code)
    if (rule === 'never' || rule === 'fresh-token') {
      this.#isRefused = true
      if (!this.#isClosed && !this.#options.ledger.isRevoked(this.userId)) {
        this.#options.journal.fail('only a revoked user is refused', `${this.name} (${this.userId}) was closed with ${code}`)
      }
      return
    }
    // Reconnects far sooner than other clients, so that a short run has many connections.
    setTimeout(() => { this.#connect() }, this.#options.random.between(5, 150))
  }

  #take (message: Message): void {
    const { journal, ledger, name } = this.#options
    if (message.type === 'connection') {
      if (this.#isConnected) journal.fail('there is one connection message', name)
      this.#connected(message)
      return
    }
    if (!this.#isConnected) {
      journal.fail('connection is the first message', `${name}: ${message.type}`)
      return
    }
    const { sessionId } = message as { sessionId?: string }
    if (message.type === 'error') {
      this.#refused(message)
    } else if (message.type === 'unsubscribed') {
      this.#left(message)
    } else if (message.userSeq !== undefined) {
      this.#reader.take(message)
      if (message.to !== this.userId) journal.fail('a user\'s messages reach that user only', `${name} (${this.userId}): ${JSON.stringify(message)}`)
      ledger.delivered(name, this.userId, `user:${this.userId}`, this.#reader.view('user').place?.epoch ?? '', message.userSeq as number, message)
      this.#reader.view('user').messages.length = 0
    } else if (sessionId !== undefined && message.type !== 'cancelling') {
      this.#ofSession(sessionId, message)
    }
  }

  #connected (message: Message): void {
    this.#isConnected = true
    this.#checkGreeting('user', message.user as Message)
    const inQuery = this.#inQuery
    if (inQuery !== undefined && message.sessionId === inQuery) this.#greeted(inQuery, message)
    this.#reader.take(message)
    this.#reader.view('user').messages.length = 0
    if (inQuery !== undefined && message.sessionId === inQuery) this.#settle(inQuery, this.#followed.get(inQuery)!)
    for (const [sessionId, { phase }] of this.#followed) if (phase === 'wanted') this.#ask(sessionId)
  }

  #refused ({ request, sessionId, code }: Message): void {
    if (request !== 'subscribe') return
    const followed = this.#followed.get(sessionId as string)
    if (followed === undefined) return
    if (code === 'forbidden') {
      this.#forget(sessionId as string, followed)
      followed.phase = 'denied'
      followed.jobs.lose()
    } else {
      followed.phase = 'wanted'
      setTimeout(() => { if (this.#isConnected && followed.phase === 'wanted') this.#ask(sessionId as string) }, 100)
    }
  }

  #left ({ sessionId, reason }: Message): void {
    const followed = this.#followed.get(sessionId as string)
    if (followed === undefined) return
    if (reason === 'revoked') {
      this.#forget(sessionId as string, followed)
      followed.phase = 'denied'
      followed.jobs.lose()
    } else if (followed.phase === 'leaving') {
      this.#followed.delete(sessionId as string)
    }
  }

  #ofSession (sessionId: string, message: Message): void {
    const { journal, ledger, name } = this.#options
    const followed = this.#followed.get(sessionId)
    if (!mayRead(this.userId, sessionId)) {
      journal.fail('no reader reads a session that it may not', `${name} (${this.userId}): ${JSON.stringify(message).slice(0, 300)}`)
    }
    if (followed === undefined || followed.phase === 'denied') {
      journal.fail('no message comes of a session that is not followed', `${name}: ${JSON.stringify(message).slice(0, 300)}`)
      return
    }
    if (message.type === 'subscribed') {
      if (followed.phase === 'leaving') return
      this.#greeted(sessionId, message)
      this.#reader.take(message)
      this.#settle(sessionId, followed)
      return
    }
    // Messages that arrive before the reply are repeated after it.
    if (followed.phase !== 'following') return
    this.#reader.take(message)
    const view = this.#reader.view(`session:${sessionId}`)
    const epoch = view.greeting!.epoch
    const { seq, type, jobId = '' } = message as { seq?: number, type: string, jobId?: string }
    if (seq !== undefined) ledger.delivered(name, this.userId, `session:${sessionId}`, epoch, seq, message)
    if (type.startsWith('ai_')) {
      const hasEnded = followed.jobs.take(message, epoch, this.#reader.text(jobId))
      if (hasEnded) this.#reader.texts.delete(jobId)
    }
    view.messages.length = view.present.length = 0
    if (this.#reader.gaps.delete(sessionId)) this.#ask(sessionId)
    this.#settle(sessionId, followed)
  }

  #greeted (sessionId: string, message: Message): void {
    const followed = this.#followed.get(sessionId)!
    this.#checkGreeting(`session:${sessionId}`, message)
    followed.phase = 'following'
    if (message.recovered !== true) followed.jobs.expectState()
  }

  /** Checks that a position in the current epoch is continued without a gap, because the server keeps everything. */
  #checkGreeting (stream: string, greeting: Message): void {
    const { name, journal, ledger, userId } = this.#options
    const { place } = this.#reader.view(stream)
    if (place === undefined || greeting.recovered === true || greeting.epoch !== place.epoch) return
    if (ledger.mayExpire(stream === 'user' ? `user:${userId}` : stream, place.epoch, place.seq)) return
    journal.fail('a position of this epoch is recovered', `${name}, ${stream} at ${place.epoch}:${place.seq}: ${JSON.stringify(greeting)}`)
  }

  #settle (sessionId: string, { jobs }: Followed): void {
    const { greeting, replaying } = this.#reader.view(`session:${sessionId}`)
    if (greeting?.recovered !== false || replaying > 0) return
    for (const jobId of jobs.reconcile()) this.#reader.texts.delete(jobId)
  }

  #ask (sessionId: string): void {
    this.#followed.get(sessionId)!.phase = 'asking'
    const since = this.#reader.since(`session:${sessionId}`)
    this.#send({ type: 'subscribe', sessionId, ...since !== undefined && { since, have: this.#reader.have } })
  }

  #send (message: object): void {
    if (this.#isConnected && this.#ws?.readyState === WebSocket.OPEN) this.#ws.send(JSON.stringify(message))
  }
}

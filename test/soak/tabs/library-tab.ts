import { createClient, type Client } from 'ai-canvas-ws/client'
import { WebSocket } from 'ws'
import type { Message } from '../../support/ws-client.js'
import type { Line } from '../line.js'
import { mayRead } from '../world.js'
import { JobWatch } from './job-watch.js'
import { readMessage, type Heads, type Tab, type TabOptions } from './tab.js'

/**
 * The messages of one stream that the client has emitted. The client removes duplicates itself, so that every emitted duplicate is
 * a fault.
 */
class FollowedStream {
  epoch = ''
  /** The latest number that was emitted, or the head at the end of the snapshot. */
  seq = 0
  /** The number up to which the snapshot may contain messages with their original numbers. */
  head = 0
  readonly told = new Set<number>()
  greeted = false
}

/** A tab that runs this package's own client, as an app uses it. */
export class LibraryTab implements Tab {
  readonly name: string
  readonly userId: string
  readonly line: Line
  readonly #options: TabOptions
  readonly #client: Client
  readonly #streams = new Map<string, FollowedStream>()
  readonly #jobs = new Map<string, JobWatch>()
  readonly #holders = new Map<string, () => void>()
  #socket: WebSocket | undefined

  constructor (options: TabOptions) {
    const { line, userId, journal, sessions, random } = options
    this.#options = options
    this.name = options.name
    this.userId = userId
    this.line = line
    const keep = (socket: WebSocket): void => { this.#socket = socket }
    // A stalled line must not delay the run for the minute that a TCP handshake may take.
    class Socket extends WebSocket {
      constructor (url: string, protocols: string[]) {
        super(url, protocols, { handshakeTimeout: 3_000, perMessageDeflate: random.chance(0.5) })
        keep(this)
      }
    }
    this.#client = createClient({
      url: `ws://127.0.0.1:${line.port}/ws`,
      WebSocket: Socket as never,
      getToken: () => userId,
      reconnectInterval: 20,
      maxReconnectIntervalMs: 200,
      maxReconnectAttempts: Infinity,
      connectTimeoutMs: 5_000
    })
    this.#client.on('message', (message) => {
      journal.check(`the client tells each message once and in order (${this.name})`, () => { this.#take(message) })
    })
    for (const sessionId of sessions) this.follow(sessionId)
    this.#client.connect()
  }

  get subscriptions (): readonly string[] {
    return [...this.#holders.keys()]
  }

  follow (sessionId: string): void {
    if (this.#holders.has(sessionId)) return
    const { name, journal, ledger } = this.#options
    this.#jobs.set(sessionId, new JobWatch(name, sessionId, journal, ledger))
    this.#streams.set(`session:${sessionId}`, new FollowedStream())
    this.#holders.set(sessionId, this.#client.subscribe(sessionId))
  }

  leave (sessionId: string): void {
    if (!this.#holders.has(sessionId)) return
    this.#client.unsubscribe(sessionId)
    this.#holders.delete(sessionId)
    this.#streams.delete(`session:${sessionId}`)
  }

  askAgain (sessionId: string): void {
    if (this.#holders.has(sessionId)) this.#client.send({ type: 'subscribe', sessionId })
  }

  cancel (sessionId: string): void {
    if (this.#client.state === 'connected') this.#client.cancel(sessionId)
  }

  trespass (sessionId: string): void {
    if (this.#client.state !== 'connected') return
    const release = this.#client.subscribe(sessionId)
    setTimeout(release, 200).unref()
  }

  pause (ms: number): void {
    const socket = this.#socket
    if (socket?.readyState !== WebSocket.OPEN) return
    socket.pause()
    setTimeout(() => { socket.resume() }, ms).unref()
  }

  missing (heads: Heads): string | undefined {
    const { ledger } = this.#options
    const { state, reason } = this.#client
    if (ledger.isRevoked(this.userId)) return state === 'closed' && reason === 'refused' ? undefined : `its user was revoked, and it is ${state}`
    if (state !== 'connected') return `it is ${state} (${String(reason)})`
    for (const [stream, { epoch, seq, greeted }] of this.#streams) {
      const sessionId = stream.replace(/^session:/, '')
      if (ledger.isRevoked(this.userId, sessionId)) continue
      const head = heads.get(stream)
      if (head !== undefined && (!greeted || epoch !== head.epoch || seq < head.seq)) return `${stream} is at ${epoch}:${seq}, its head is ${head.epoch}:${head.seq}`
    }
    for (const sessionId of this.#holders.keys()) {
      const running = this.#client.jobStore(sessionId).getSnapshot().jobs.filter(({ status }) => status === 'processing')
      const overdue = this.#jobs.get(sessionId)!.overdue
      if (overdue.length > 0) return `${sessionId} lacks the real end of ${overdue.join(', ')}`
      if (running.length > 0) return `${sessionId} still shows as running: ${running.map(({ jobId }) => jobId).join(', ')}`
    }
    return undefined
  }

  close (): void {
    this.#client.close()
    this.#socket?.terminate()
  }

  #take (message: Message): void {
    const { journal, name } = this.#options
    readMessage(JSON.stringify(message), journal)
    const { type, sessionId } = message as { type: string, sessionId?: string }
    if (type === 'connection') {
      this.#greet(`user:${this.userId}`, message.user as Message)
      if (sessionId !== undefined && this.#holders.has(sessionId)) this.#greet(`session:${sessionId}`, message)
    } else if (type === 'subscribed') {
      if (!mayRead(this.userId, sessionId!)) journal.fail('no reader reads a session that it may not', `${name} (${this.userId}) subscribed to ${sessionId!}`)
      if (this.#holders.has(sessionId!)) this.#greet(`session:${sessionId!}`, message)
    } else if (message.userSeq !== undefined) {
      if (message.to !== this.userId) journal.fail('a user\'s messages reach that user only', `${name} (${this.userId}): ${JSON.stringify(message)}`)
      this.#number(`user:${this.userId}`, message.userSeq as number, message)
    } else if (sessionId !== undefined && !['error', 'unsubscribed', 'cancelling'].includes(type)) {
      this.#ofSession(sessionId, message)
    }
  }

  #ofSession (sessionId: string, message: Message): void {
    const { journal, name } = this.#options
    const { seq, type, jobId } = message as { seq?: number, type: string, jobId?: string }
    // The client itself emits this error for a job whose end is unknown.
    const isLost = type === 'ai_error' && (message.error as { type: string }).type === 'lost'
    const followed = this.#streams.get(`session:${sessionId}`)
    if (!isLost && (!mayRead(this.userId, sessionId) || followed === undefined)) {
      journal.fail('no reader reads a session that it may not', `${name} (${this.userId}): ${JSON.stringify(message).slice(0, 300)}`)
    }
    if (followed === undefined) return
    if (seq !== undefined) this.#number(`session:${sessionId}`, seq, message)
    if (!type.startsWith('ai_')) return
    const view = this.#client.jobStore(sessionId).getSnapshot().find(jobId!)
    const status = type === 'ai_complete' ? 'complete' : type === 'ai_error' ? 'error' : 'processing'
    if (view?.status !== status) journal.fail('the job store shows what the listeners were told', `${name}: ${type}, and ${JSON.stringify(view)}`)
    if (isLost) this.#jobs.get(sessionId)!.loseJob(jobId!)
    else this.#jobs.get(sessionId)!.take(message, followed.epoch, view?.text ?? '')
  }

  #greet (stream: string, { epoch, seq, recovered, reason }: Message): void {
    const { journal, ledger, name } = this.#options
    const followed = this.#streams.get(stream) ?? new FollowedStream()
    this.#streams.set(stream, followed)
    const isContinued = followed.greeted && epoch === followed.epoch
    followed.greeted = true
    if (recovered === true) {
      if (!isContinued) journal.fail('what is continued is the same epoch', `${name}: ${stream}`)
      return
    }
    if (!isContinued) followed.told.clear()
    followed.epoch = epoch as string
    followed.head = followed.seq = seq as number
    // `new`: the client sent no position, because it was disconnected in the middle of a snapshot.
    if (isContinued && reason !== 'new' && !ledger.mayExpire(stream, followed.epoch, Math.max(0, ...followed.told))) {
      journal.fail('a position of this epoch is recovered', `${name}: ${stream}, ${followed.epoch}:${String(seq)}, ${String(reason)}`)
    }
  }

  #number (stream: string, seq: number, message: Message): void {
    const { journal, ledger, name } = this.#options
    const followed = this.#streams.get(stream)!
    if (followed.told.has(seq)) journal.fail('the client tells each message once', `${name}: ${stream} ${followed.epoch}:${seq} twice`)
    if (seq > followed.head && seq !== followed.seq + 1) {
      journal.fail('the client misses no message', `${name}: ${stream} ${followed.epoch}:${seq} behind ${followed.seq}`)
    }
    followed.told.add(seq)
    followed.seq = Math.max(followed.seq, seq)
    ledger.delivered(name, this.userId, stream, followed.epoch, seq, message)
  }
}

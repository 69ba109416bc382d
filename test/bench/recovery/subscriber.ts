/** The state of a contender's client between two connections, and how it handles messages. */
export interface Subscriber {
  /** Returns the path of the upgrade request. */
  path (): string
  /**
   * Handles a message. Returns `ready` if the client is now connected and subscribed, `message` for a message of the app, otherwise
   * the reply to send.
   */
  take (payload: Buffer): 'ready' | 'message' | { readonly reply: string } | undefined
  /** All received text, if the app's messages contain text. */
  readonly text: string
  /** Whether the text's job has ended. */
  readonly ended: boolean
}

/** The latest piece of text, for its time stamps. */
type OnText = (stretch: string) => void

interface OurMessage {
  readonly type: string
  readonly epoch?: string
  readonly seq?: number
  readonly jobId?: string
  readonly progress?: { readonly delta?: string, readonly offset?: number }
}

const CONNECTION = Buffer.from('{"type":"connection"')

/** Implements lib/protocol/README.md. */
class OurFollower implements Subscriber {
  text = ''
  ended = false
  readonly #sessionId: string
  readonly #onText: OnText | undefined
  #epoch = ''
  #seq = 0
  #jobId: string | undefined
  /** Parsed lazily, because thousands of clients share this process. */
  #latest: Buffer | undefined

  constructor (sessionId: string, onText?: OnText) {
    this.#sessionId = sessionId
    this.#onText = onText
  }

  path (): string {
    this.#advance()
    const since = this.#epoch === '' ? '' : `&since=${this.#epoch}:${this.#seq}`
    const have = this.#jobId === undefined ? '' : `&have=${encodeURIComponent(JSON.stringify({ [this.#jobId]: this.text.length }))}`
    return `/ws?sessionId=${this.#sessionId}${since}${have}`
  }

  take (payload: Buffer): ReturnType<Subscriber['take']> {
    if (payload.subarray(0, CONNECTION.length).equals(CONNECTION)) {
      const { epoch = '', seq = 0 } = JSON.parse(payload.toString()) as OurMessage
      if (epoch !== this.#epoch) {
        this.#epoch = epoch
        this.#seq = seq
      }
      return 'ready'
    }
    this.#latest = payload
    return this.#onText === undefined ? 'message' : this.#read(JSON.parse(payload.toString()) as OurMessage)
  }

  #read ({ type, seq, jobId, progress }: OurMessage): ReturnType<Subscriber['take']> {
    this.#seq = seq ?? this.#seq
    this.#latest = undefined
    this.#jobId = jobId ?? this.#jobId
    if (type === 'ai_complete') this.ended = true
    const { delta, offset = this.text.length } = progress ?? {}
    if (delta === undefined) return 'message'
    if (offset > this.text.length) {
      const have = { [this.#jobId ?? '']: this.text.length }
      return { reply: JSON.stringify({ type: 'subscribe', sessionId: this.#sessionId, since: `${this.#epoch}:${this.#seq}`, have }) }
    }
    const news = delta.slice(this.text.length - offset)
    this.text += news
    if (news !== '') this.#onText?.(news)
    return 'message'
  }

  #advance (): void {
    if (this.#latest === undefined) return
    this.#seq = (JSON.parse(this.#latest.toString()) as OurMessage).seq ?? this.#seq
    this.#latest = undefined
  }
}

const ENGINE_OPEN = '0'.charCodeAt(0)
const MESSAGE = '4'.charCodeAt(0)
const CONNECT = '0'.charCodeAt(0)
const EVENT = '2'.charCodeAt(0)

/** Socket.IO's own recovery: the session's private id, and the offset that its server appends to the arguments. */
class SocketIoFollower implements Subscriber {
  text = ''
  ended = false
  readonly #sessionId: string
  readonly #onText: OnText | undefined
  #pid: string | undefined
  #offset: string | undefined
  #latest: Buffer | undefined

  constructor (sessionId: string, onText?: OnText) {
    this.#sessionId = sessionId
    this.#onText = onText
  }

  path (): string {
    return `/socket.io/?EIO=4&transport=websocket&sessionId=${this.#sessionId}`
  }

  take (payload: Buffer): ReturnType<Subscriber['take']> {
    if (payload[0] === ENGINE_OPEN) return { reply: `40${JSON.stringify({ pid: this.#pid, offset: this.#lastOffset() })}` }
    if (payload[0] !== MESSAGE) return undefined
    if (payload[1] === CONNECT) {
      this.#pid = (JSON.parse(payload.toString('utf8', 2)) as { pid: string }).pid
      return 'ready'
    }
    if (payload[1] !== EVENT) return undefined
    this.#latest = payload
    if (this.#onText !== undefined) this.#read(payload)
    return 'message'
  }

  #read (payload: Buffer): void {
    const [, { type, text = '' }] = JSON.parse(payload.toString('utf8', 2)) as [string, { type: string, text?: string }]
    if (type === 'end') this.ended = true
    this.text += text
    if (text !== '') this.#onText?.(text)
  }

  #lastOffset (): string | undefined {
    if (this.#latest !== undefined) {
      const offset: unknown = (JSON.parse(this.#latest.toString('utf8', 2)) as unknown[]).at(-1)
      if (typeof offset === 'string') this.#offset = offset
    }
    this.#latest = undefined
    return this.#offset
  }
}

export function followerOf (contender: string, sessionId: string, onText?: OnText): Subscriber {
  return contender === 'ours' ? new OurFollower(sessionId, onText) : new SocketIoFollower(sessionId, onText)
}

import type { HeldTexts, Joined, Position, Publication, Stream, TextSource } from '../streams/broker.js'
import type { Clock } from '../util/clock.js'
import type { Frame } from './frame.js'
import { FrameBuffer } from './frame-buffer.js'
import { LocalTexts } from './local-texts.js'

/** What a subscription does with its messages. */
export interface SubscriptionEvents {
  readonly deliver: (stream: Stream, publication: Publication) => number
  /** Called when messages are missing: `resume` must be called with a join from `position`, or `restart`. */
  readonly onGap: (subscription: Subscription) => void
  /** Called when the stream's numbering has begun anew. */
  readonly onNewEpoch: (subscription: Subscription, epoch: string) => void
}

interface Waiter {
  readonly revision: number
  readonly settle: (reached: boolean) => void
}

/**
 * A stream that this node follows. It delivers the messages of the stream's channel in the order of their revisions. While its
 * position in the stream is unknown, messages wait in a buffer: before the first join, after a gap, and after lost history.
 */
export class Subscription {
  readonly stream: Stream
  /** Settles when Redis has confirmed the subscription of the channel. Undefined without one. */
  confirmed: Promise<unknown> | undefined
  /** Time of the latest renewal of the stream's lifetime. */
  touchedAt: number
  /** Number of subscribers at the latest delivery. */
  recipients = 0
  readonly #clock: Clock
  readonly #events: SubscriptionEvents
  readonly #texts: LocalTexts
  readonly #waiters = new Set<Waiter>()
  #epoch = ''
  #seq = 0
  #revision = 0
  #isJoined = false
  #buffer: FrameBuffer | undefined = new FrameBuffer()

  constructor (stream: Stream, maxTextUnits: number, clock: Clock, events: SubscriptionEvents) {
    this.stream = stream
    this.touchedAt = clock.monotonic()
    this.#clock = clock
    this.#events = events
    this.#texts = new LocalTexts(maxTextUnits)
  }

  /** Whether a join has returned since the numbering began. */
  get isJoined (): boolean {
    return this.#isJoined
  }

  /** Whether the messages wait, because the position is unknown. */
  get isWaiting (): boolean {
    return this.#buffer !== undefined
  }

  /** Whether any join has ever returned. */
  get isBegun (): boolean {
    return this.#epoch !== ''
  }

  /** The latest position that was delivered or covered by a join. */
  get position (): Position {
    return { epoch: this.#epoch, seq: this.#seq }
  }

  get texts (): HeldTexts {
    return this.#texts.lengths
  }

  receive (frame: Frame): void {
    if (this.#buffer !== undefined) {
      this.#buffer.push(frame)
      return
    }
    if (frame.epoch !== this.#epoch) {
      this.#events.onNewEpoch(this, frame.epoch)
      this.receive(frame)
      return
    }
    if (frame.revision <= this.#revision) return
    if (frame.revision > this.#revision + 1) {
      this.#buffer = new FrameBuffer([frame])
      this.#events.onGap(this)
      return
    }
    this.#deliver(frame)
  }

  /** Records the result of a join. Returns whether everything that it covers is delivered; if not, `reached` tells when. */
  joined (joined: Joined): boolean {
    if (this.#isJoined && joined.epoch !== this.#epoch) this.#events.onNewEpoch(this, joined.epoch)
    const buffer = this.#buffer
    if (this.#isJoined || buffer === undefined) return buffer === undefined && joined.revision <= this.#revision
    this.#isJoined = true
    this.#moveTo(joined, buffer)
    return true
  }

  /**
   * Continues after lost history, at a join that was made since. Everything that the join covers has arrived. What of it belongs to
   * the new epoch is delivered too: it was published after the loss, and the subscribers were told of the loss before.
   */
  rebase (joined: Joined): void {
    if (this.#isJoined || this.#buffer === undefined) return
    this.#isJoined = true
    const arrived = this.#buffer.frames
    const rest = this.#buffer = new FrameBuffer(arrived.filter(({ revision }) => revision > joined.revision))
    for (const frame of arrived) if (frame.epoch === joined.epoch && frame.revision <= joined.revision) this.#deliver(frame)
    this.#moveTo(joined, rest)
  }

  /** Delivers what a join has returned since `position`, then what has arrived in the meantime. */
  resume (joined: Joined): void {
    const buffer = this.#buffer
    if (buffer === undefined) return
    for (const publication of joined.replay) {
      if (publication.revision > this.#revision) this.#replay(publication)
    }
    this.#moveTo(joined, buffer)
  }

  /** Forgets the position: the stream's history was lost. Returns whether subscribers must be told. */
  restart (): boolean {
    const wasJoined = this.#isJoined
    this.#isJoined = false
    this.#buffer ??= new FrameBuffer()
    this.#texts.clear()
    this.release()
    return wasJoined
  }

  /** Makes the messages wait: some may be missing, because the connection was lost. */
  suspend (): void {
    this.confirmed = undefined
    this.hold()
    this.release()
  }

  /** Makes the messages wait until the position is known again. */
  hold (): void {
    this.#buffer ??= new FrameBuffer()
  }

  /** Resolves with true when the revision is delivered, and with false if that can't be known, or takes too long. */
  reached (revision: number, timeoutMs: number): Promise<boolean> {
    if (this.#buffer === undefined && revision <= this.#revision) return Promise.resolve(true)
    return new Promise((resolve) => {
      const timer = this.#clock.after(timeoutMs, () => { waiter.settle(false) })
      const waiter = {
        revision,
        settle: (reached: boolean): void => {
          timer.cancel()
          this.#waiters.delete(waiter)
          resolve(reached)
        }
      }
      this.#waiters.add(waiter)
    })
  }

  /** Lets nobody wait any longer. */
  release (): void {
    for (const { settle } of this.#waiters) settle(false)
  }

  /** Continues at a join, with the messages that have waited. */
  #moveTo ({ epoch, seq, revision }: Joined, { frames }: FrameBuffer): void {
    this.#epoch = epoch
    this.#seq = seq
    this.#revision = revision
    this.#buffer = undefined
    this.#wake()
    // A message of another epoch was published before the stream began anew.
    for (const frame of frames) if (frame.epoch === epoch) this.receive(frame)
  }

  #deliver ({ body, durable, revision, seq, supersedes, isEnd, jobId, text }: Frame): void {
    this.#revision = revision
    this.#seq = seq
    let span: Publication['text']
    if (text !== undefined && jobId !== undefined) span = { source: this.#texts.add(jobId, text.kept), from: text.from, to: text.to }
    this.recipients = this.#events.deliver(this.stream, {
      body, durable, revision, seq: durable ? seq : undefined, jobId, supersedes: supersedes || undefined, text: span
    })
    if (isEnd && jobId !== undefined) this.#texts.delete(jobId)
    this.#wake()
  }

  /** Delivers a message of a replay. Its text continues where this node's text ends. */
  #replay (publication: Publication): void {
    const { jobId, text } = publication
    if (jobId === undefined || text === undefined) {
      this.recipients = this.#events.deliver(this.stream, publication)
      return
    }
    const begin = this.#texts.lengths.get(jobId) ?? 0
    const from = begin > text.to ? 0 : begin
    const source: TextSource = this.#texts.add(jobId, text.source.slice(from, text.to))
    this.recipients = this.#events.deliver(this.stream, { ...publication, text: { source, from, to: text.to } })
  }

  #wake (): void {
    if (this.#waiters.size === 0) return
    for (const { revision, settle } of this.#waiters) if (revision <= this.#revision) settle(true)
  }
}

import type { Broker, Joined, Position, Publication, Stream } from '../broker/broker.js'
import type { Clock } from '../clock.js'
import { all, proceed, type MaybePromise } from '../maybe-promise.js'
import { Channel, type Entry } from './channel.js'
import type { Follower } from './follower.js'
import { Frame, type DeflateSettings } from './frame.js'
import { PresentFrames } from './present.js'

export interface JoinRequest {
  readonly stream: Stream
  readonly since?: Position | undefined
  /** How much the reader holds of jobs' texts, by job. */
  readonly have?: ReadonlyMap<string, number> | undefined
}

/** Given the answers of the streams that are entered, returns the message that goes before everything of theirs. */
export type Greet = (joined: ReadonlyMap<Stream, Joined>) => string

/** A follower on its way into a channel. */
interface Entrance {
  readonly channel: Channel
  readonly have: ReadonlyMap<string, number> | undefined
  /** What came since; absent when it follows the channel already and only asks where it is. */
  readonly meanwhile?: Entry[]
}

export interface HubOptions {
  readonly broker: Broker
  readonly clock: Clock
  readonly deflate?: DeflateSettings | undefined
}

/**
 * Takes publications to the connections that follow their stream, and keeps the order on each connection that of the
 * calls, direct answers included.
 *
 * Everything of one tick leaves at its end, in one write a connection. Most connections follow one channel with news, so
 * that channel's frames are joined once and the same bytes are written to all. A connection for which that would break
 * the order (a direct answer in between, two channels with news, a join or a leave in the middle) is settled instead:
 * what it has coming up to this point is listed for it alone, and a cursor says how far.
 */
export class Hub {
  readonly #broker: Broker
  readonly #clock: Clock
  readonly #deflate: DeflateSettings | undefined
  readonly #channels = new Map<Stream, Channel>()
  readonly #present: PresentFrames
  /** Channels with news, and followers that were settled, in this tick. */
  readonly #fed: Channel[] = []
  readonly #settled: Follower[] = []
  #tick = 0
  #order = 0
  #flushing = false

  constructor ({ broker, clock, deflate }: HubOptions) {
    this.#broker = broker
    this.#clock = clock
    this.#deflate = deflate
    this.#present = new PresentFrames(clock)
  }

  /** How many connections of this node follow the stream or are about to. */
  count (stream: Stream): number {
    return this.#channels.get(stream)?.size ?? 0
  }

  /**
   * Begins to follow some streams, together. `greet` is called at the point from which everything is delivered, with the
   * broker's answers; what it returns is sent first, then what the reader missed, then what came in the meantime. A
   * stream that was left before that point has no answer, and with none left `greet` is not called. Rejects when the
   * broker does; then nothing new is followed.
   */
  join (follower: Follower, requests: readonly JoinRequest[], greet: Greet): MaybePromise<void> {
    const entrances = requests.map((request) => this.#approach(follower, request))
    return proceed(() => all(requests.map(({ stream, since }) => () => this.#broker.join(stream, since))), (answers) => {
      const joined = new Map<Stream, Joined>()
      entrances.forEach((entrance, at) => {
        const answer = answers[at]
        if (answer !== undefined && isWaiting(follower, entrance)) joined.set(entrance.channel.stream, answer)
      })
      if (joined.size > 0 && !follower.outbox.closed) {
        this.send(follower, greet(joined))
        for (const entrance of entrances) {
          const answer = joined.get(entrance.channel.stream)
          // Of a stream that was asked for twice, only the later entrance is open.
          if (answer !== undefined && isWaiting(follower, entrance)) this.#enter(follower, entrance, answer)
        }
      }
      this.#abandon(follower, entrances)
    }, (error) => {
      this.#abandon(follower, entrances)
      throw error
    })
  }

  /** Ends following. What was delivered before still goes out. */
  leave (follower: Follower, stream: Stream): void {
    const channel = this.#channels.get(stream)
    if (channel === undefined) return
    channel.unenter(follower)
    if (channel.followers.has(follower)) {
      this.#settle(follower)
      channel.followers.delete(follower)
      follower.channels = follower.channels.filter((other) => other !== channel)
    }
    this.#dispose(channel)
  }

  /** Sends what was delivered so far, and nothing after it. Calls back when the socket has been given all of it. */
  finish (follower: Follower, finished: () => void): void {
    this.#settle(follower)
    writeOwn(follower)
    follower.outbox.finish(finished)
    this.#forget(follower)
  }

  /** The connection is gone: nothing more, and nothing that waits. */
  drop (follower: Follower): void {
    follower.outbox.close()
    this.#forget(follower)
  }

  #forget (follower: Follower): void {
    for (const channel of follower.channels) {
      channel.followers.delete(follower)
      this.#dispose(channel)
    }
    follower.channels = []
    for (const channel of follower.entering ?? []) {
      channel.unenter(follower)
      this.#dispose(channel)
    }
    follower.own = undefined
    follower.fedBy = undefined
  }

  /** Takes a publication to all who follow its stream, and answers how many they are. */
  deliver (stream: Stream, publication: Publication): number {
    const channel = this.#channels.get(stream)
    if (channel === undefined) return 0
    const entry = { frame: this.#frame(stream, publication), revision: publication.revision, order: this.#order++ }
    if (channel.add(entry)) {
      if (channel.entries.length === 1) this.#fed.push(channel)
      this.#flushLater()
    }
    return channel.size
  }

  /** Sends one connection a message of its own, after everything that was delivered to it so far. */
  send (follower: Follower, text: string): void {
    this.#sendFrame(follower, new Frame(text, { deflate: this.#deflate }))
  }

  /** Sends everything that is due. Needed only before an end; otherwise it happens at the end of the tick. */
  flush (): void {
    this.#flushing = false
    const fed = this.#fed.splice(0)
    const settled = this.#settled.splice(0)
    const [only] = fed
    if (only !== undefined && fed.length === 1 && settled.length === 0) this.#writeToAll(only)
    else this.#writeToEach(fed, settled)
    // One that overflows may end others, and whoever hears of that may do anything.
    for (const follower of this.#settled) writeOwn(follower)
    for (const channel of fed) channel.clear()
    this.#settled.length = 0
    this.#tick++
    this.#order = 0
  }

  #approach (follower: Follower, { stream, have }: JoinRequest): Entrance {
    const channel = this.#open(stream)
    if (channel.followers.has(follower)) return { channel, have }
    return { channel, have, meanwhile: channel.enter(follower) }
  }

  #enter (follower: Follower, { channel, have, meanwhile }: Entrance, joined: Joined): void {
    const past = joined.replay.map((publication) => this.#replayFrame(channel.stream, publication, have))
    const { outbox } = follower
    // Only on its way in: who asks again and again without reading is a slow reader.
    if (meanwhile !== undefined) outbox.expect(past.reduce((sum, frame) => sum + frame.bytes(outbox.transport.inflates).length, 0))
    for (const frame of past) this.#sendFrame(follower, frame)
    if (meanwhile === undefined) return
    for (const { revision, frame } of meanwhile) if (revision > joined.revision) this.#sendFrame(follower, frame)
    channel.unenter(follower)
    channel.followers.add(follower)
    follower.channels = follower.channels.concat(channel)
  }

  /** Ends what did not come to an entrance. */
  #abandon (follower: Follower, entrances: readonly Entrance[]): void {
    for (const { channel, meanwhile } of entrances) {
      if (meanwhile !== undefined && channel.isEntering(follower, meanwhile)) channel.unenter(follower)
      this.#dispose(channel)
    }
  }

  /** What a tick nearly always is: one channel has news, and all who follow it get the same. */
  #writeToAll (channel: Channel): void {
    for (const follower of channel.followers) {
      // One that entered meanwhile: this tick's news came before.
      if (follower.tick === this.#tick) continue
      follower.tick = this.#tick
      follower.cursor = this.#order
      this.#writeBatch(follower, channel)
    }
  }

  #writeToEach (fed: readonly Channel[], settled: readonly Follower[]): void {
    const whole: Follower[] = []
    for (const channel of fed) {
      for (const follower of channel.followers) this.#note(follower, channel, whole)
    }
    for (const follower of settled) {
      this.#settle(follower)
      writeOwn(follower)
    }
    for (const follower of whole) this.#writeWhole(follower)
  }

  /** Notes that the follower gets this channel's batch, unless it is among the settled ones. */
  #note (follower: Follower, channel: Channel, whole: Follower[]): void {
    if (follower.tick !== this.#tick) {
      follower.tick = this.#tick
      follower.cursor = 0
      follower.fedBy = channel
      follower.mixed = false
      whole.push(follower)
    } else if (follower.fedBy !== undefined) {
      follower.mixed = true
    }
  }

  #writeWhole (follower: Follower): void {
    const { outbox, fedBy } = follower
    follower.fedBy = undefined
    if (fedBy === undefined) return
    const coming = follower.mixed ? this.#coming(follower) : undefined
    // A later one may overflow, and ending that one may end this one too: it has all of this tick already.
    follower.cursor = this.#order
    if (coming === undefined) this.#writeBatch(follower, fedBy)
    else outbox.write(coming)
  }

  #writeBatch ({ outbox }: Follower, channel: Channel): void {
    if (!outbox.writeJoined(channel.bytes(outbox.transport.inflates), channel.frames)) outbox.write(channel.frames)
  }

  /** Lists what the follower has coming up to now, so that what happens next comes after it. */
  #settle (follower: Follower): void {
    if (follower.tick !== this.#tick) {
      follower.tick = this.#tick
      follower.cursor = 0
      follower.fedBy = undefined
      this.#settled.push(follower)
      this.#flushLater()
    }
    const coming = this.#coming(follower)
    if (coming.length > 0) follower.own = follower.own === undefined ? coming : follower.own.concat(coming)
    follower.cursor = this.#order
  }

  /** This tick's frames for the follower from its cursor on, in the order of their delivery. */
  #coming (follower: Follower): Frame[] {
    const entries = []
    for (const channel of follower.channels) {
      for (const entry of channel.entries) if (entry.order >= follower.cursor) entries.push(entry)
    }
    return entries.sort((a, b) => a.order - b.order).map(({ frame }) => frame)
  }

  #sendFrame (follower: Follower, frame: Frame): void {
    if (follower.outbox.closed) return
    this.#settle(follower)
    ;(follower.own ??= []).push(frame)
  }

  /** The message as it goes out. One that is kept is framed once, however often it is sent. */
  #frame (stream: Stream, publication: Publication): Frame {
    if (!publication.durable) return this.#progressFrame(stream, publication, publication.text?.from ?? 0)
    if (!(publication.made instanceof Frame)) {
      publication.made = new Frame(render(stream, publication, 0), { deflate: this.#deflate, isKept: true })
    }
    return publication.made as Frame
  }

  /**
   * The same for a reader who comes late: with what it lacks of the text. A newer one does not take its place, because it
   * was told how many come from the past.
   */
  #replayFrame (stream: Stream, publication: Publication, have: ReadonlyMap<string, number> | undefined): Frame {
    const { text, jobId = '', durable } = publication
    if (durable) return this.#frame(stream, publication)
    if (text === undefined) return this.#progressFrame(stream, publication, 0, false)
    const held = have?.get(jobId) ?? 0
    // Who holds more than there is holds another text.
    const from = held <= text.to ? held : 0
    return this.#present.frame(stream, publication, text, from, () => this.#progressFrame(stream, publication, from, false))
  }

  #progressFrame (stream: Stream, publication: Publication, from: number, collapses = true): Frame {
    const { text, jobId } = publication
    return new Frame(render(stream, publication, from), {
      deflate: this.#deflate,
      collapseKey: jobId === undefined || !collapses ? undefined : `${stream} ${jobId}`,
      piece: text && { from, startingAt: (earlier) => this.#progressFrame(stream, publication, earlier) }
    })
  }

  #flushLater (): void {
    if (this.#flushing) return
    this.#flushing = true
    this.#clock.endOfTick(() => { this.flush() })
  }

  #open (stream: Stream): Channel {
    let channel = this.#channels.get(stream)
    if (channel === undefined) {
      channel = new Channel(stream)
      this.#channels.set(stream, channel)
    }
    return channel
  }

  /** Forgets a channel that nobody follows. */
  #dispose (channel: Channel): void {
    if (channel.size > 0 || this.#channels.get(channel.stream) !== channel) return
    this.#channels.delete(channel.stream)
    this.#broker.leave(channel.stream)
  }
}

/** The JSON of a publication: its body, and in it what the broker decided. */
function render (stream: Stream, { body, seq, jobId, supersedes, text, textAt }: Publication, from: number): string {
  if (seq === undefined && jobId === undefined) return body
  let head = body.slice(0, -1)
  if (text !== undefined && textAt !== undefined && from < text.to) {
    const { text: delta, offset, truncated } = text.source.slice(from, text.to)
    const comma = body[textAt - 1] === '{' ? '' : ','
    const piece = `${comma}"delta":${JSON.stringify(delta)},"offset":${offset}${truncated ? ',"truncated":true' : ''}`
    head = body.slice(0, textAt) + piece + body.slice(textAt, -1)
  }
  if (jobId !== undefined) head += `,"jobId":${JSON.stringify(jobId)}`
  if (supersedes === true) head += ',"supersedes":true'
  if (seq !== undefined) head += `,"${stream.startsWith('user:') ? 'userSeq' : 'seq'}":${seq}`
  return `${head}}`
}

function writeOwn (follower: Follower): void {
  const { own, outbox } = follower
  follower.own = undefined
  if (own !== undefined) outbox.write(own)
}

function isWaiting (follower: Follower, { channel, meanwhile }: Entrance): boolean {
  return meanwhile === undefined ? channel.followers.has(follower) : channel.isEntering(follower, meanwhile)
}

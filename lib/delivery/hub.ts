import type { Broker, Joined, Position, Publication, Stream } from '../broker/broker.js'
import type { Clock } from '../clock.js'
import { all, proceed, type MaybePromise } from '../maybe-promise.js'
import { Channel, type Batch, type Entry } from './channel.js'
import type { Follower } from './follower.js'
import type { DeflateSettings, Frame } from './frame.js'
import { Framing, type HeldTexts } from './framing.js'
import type { Outgoing } from './outbox.js'
import type { Replay } from './replay.js'

export interface JoinRequest {
  readonly stream: Stream
  readonly since?: Position | undefined
  readonly have?: HeldTexts | undefined
}

/** The broker's answer, and how much of the past the reader is sent after the greeting. */
export interface Entered extends Joined {
  /** Messages of the past: as many as `replay` has, and more where a text is sent in pieces. */
  readonly replaying: number
  /** About how many bytes those have. */
  readonly replayBytes: number
}

/** Given the answers of the streams that are entered, returns the message that goes before everything of theirs. */
export type Greet = (entered: ReadonlyMap<Stream, Entered>) => string

/** A follower on its way into a channel. */
interface Entrance {
  readonly channel: Channel
  readonly have: HeldTexts | undefined
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
 * what it has coming up to this point is listed for it alone.
 *
 * Everything delivered has a place in one order that never begins anew, and each connection a cursor in it: what stands
 * before that is written or listed for it, or none of its business. So it makes no difference whether something happens
 * between two flushes or, because a reader was given up, in the middle of one.
 */
export class Hub {
  readonly #broker: Broker
  readonly #clock: Clock
  readonly #framing: Framing
  readonly #channels = new Map<Stream, Channel>()
  /** Batches, and followers with something of their own, since the last flush. */
  #batches: Batch[] = []
  #settled: Follower[] = []
  #order = 0
  #willFlush = false

  constructor ({ broker, clock, deflate }: HubOptions) {
    this.#broker = broker
    this.#clock = clock
    this.#framing = new Framing(clock, deflate)
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
      const entered = new Map<Stream, Entered & { readonly past: Replay }>()
      entrances.forEach((entrance, at) => {
        const { channel: { stream }, have } = entrance
        const answer = answers[at]
        if (answer === undefined || !isWaiting(follower, entrance)) return
        const past = this.#framing.replay(stream, answer.replay, answer.recovered ? 'missed' : 'snapshot', have)
        entered.set(stream, { ...answer, past, replaying: past.messages, replayBytes: past.bytes })
      })
      if (entered.size > 0 && !follower.outbox.closed) {
        this.send(follower, greet(entered))
        for (const entrance of entrances) {
          const answer = entered.get(entrance.channel.stream)
          // Of a stream that was asked for twice, only the later entrance is open.
          if (answer !== undefined && isWaiting(follower, entrance)) this.#enter(follower, entrance, answer, answer.past)
        }
      }
      this.#abandon(follower, entrances)
    }, (error) => {
      this.#abandon(follower, entrances)
      throw error
    })
  }

  /** Ends following. New messages that were delivered before still go out, what is left of the past does not. */
  leave (follower: Follower, stream: Stream): void {
    const channel = this.#channels.get(stream)
    if (channel === undefined) return
    channel.unenter(follower)
    for (const [replay, ofChannel] of follower.replays ?? []) if (ofChannel === channel) replay.stop()
    if (channel.followers.has(follower)) {
      this.#settle(follower)
      channel.followers.delete(follower)
      follower.channels = follower.channels.filter((other) => other !== channel)
    }
    this.#dispose(channel)
  }

  /** Sends nothing more of the past. */
  stopReplays (follower: Follower): void {
    for (const replay of follower.replays?.keys() ?? []) replay.stop()
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
    this.stopReplays(follower)
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
    const entry = { frame: this.#framing.live(stream, publication), revision: publication.revision, order: this.#order++ }
    const batch = channel.add(entry)
    if (batch !== undefined) {
      this.#batches.push(batch)
      this.#flushLater()
    }
    return channel.size
  }

  /** Sends one connection a message of its own, after everything that was delivered to it so far. */
  send (follower: Follower, text: string): void {
    this.#sendLater(follower, this.#framing.direct(text))
  }

  /**
   * Sends everything that is due. A reader that is too slow is given up here, and whoever hears of that may do anything:
   * publish, greet, leave, end others. What is published meanwhile begins the next batches. A connection that is not
   * written to yet may get it now, from its list or by its cursor, and then not again.
   */
  #flush (): void {
    this.#willFlush = false
    const [batches, settled] = [this.#batches, this.#settled]
    // Where they end.
    const end = this.#order
    this.#batches = []
    this.#settled = []
    for (const { channel } of batches) channel.turn()
    const [only, another] = batches
    if (only !== undefined && another === undefined) this.#writeToAll(only, end)
    else this.#writeToEach(batches, end)
    for (const follower of settled) {
      // Gone meanwhile.
      if (follower.own === undefined) continue
      this.#settle(follower)
      writeOwn(follower)
    }
    for (const { channel } of batches) channel.sent()
  }

  #approach (follower: Follower, { stream, have }: JoinRequest): Entrance {
    const channel = this.#open(stream)
    if (channel.followers.has(follower)) return { channel, have }
    return { channel, have, meanwhile: channel.enter(follower) }
  }

  #enter (follower: Follower, { channel, meanwhile }: Entrance, joined: Joined, past: Replay): void {
    if (past.messages > 0) {
      const replays = follower.replays ??= new Map<Replay, Channel>()
      replays.set(past, channel)
      past.ended = () => { forgetReplay(follower, past) }
      this.#sendLater(follower, past)
    }
    if (meanwhile === undefined) return
    for (const { revision, frame } of meanwhile) if (revision > joined.revision) this.#sendLater(follower, frame)
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

  /** What a tick often is: one channel has news, so nobody has news of two. */
  #writeToAll (batch: Batch, end: number): void {
    for (const follower of batch.channel.followers) {
      // Settled: what it gets is listed already, or will be.
      if (follower.own !== undefined) continue
      if (follower.cursor <= batch.begin) this.#writeWhole(follower, batch, end)
      else this.#writeComing(follower)
    }
  }

  #writeToEach (batches: readonly Batch[], end: number): void {
    const noted: Follower[] = []
    for (const batch of batches) {
      for (const follower of batch.channel.followers) if (note(follower, batch)) noted.push(follower)
    }
    for (const follower of noted) {
      const { fedBy, mixed } = follower
      follower.fedBy = undefined
      // Gone or settled since it was noted.
      if (fedBy === undefined || follower.own !== undefined) continue
      if (mixed) this.#writeComing(follower)
      else this.#writeWhole(follower, fedBy, end)
    }
  }

  /** The cursor goes first: a write may shed, and whoever hears of that may ask where the follower is. */
  #writeWhole (follower: Follower, batch: Batch, end: number): void {
    follower.cursor = end
    writeBatch(follower, batch)
  }

  #writeComing (follower: Follower): void {
    const coming = this.#coming(follower)
    follower.cursor = this.#order
    follower.outbox.write(coming)
  }

  /** Lists what the follower has coming up to now, so that what happens next comes after it. */
  #settle (follower: Follower): Outgoing[] {
    const coming = this.#coming(follower)
    follower.cursor = this.#order
    if (follower.own === undefined) {
      follower.own = coming
      this.#settled.push(follower)
      this.#flushLater()
    } else {
      for (const frame of coming) follower.own.push(frame)
    }
    return follower.own
  }

  /** The frames for the follower from its cursor on, in the order of their delivery. */
  #coming ({ channels, cursor }: Follower): Frame[] {
    const entries: Entry[] = []
    for (const { current, next } of channels) {
      current?.collect(cursor, entries)
      next?.collect(cursor, entries)
    }
    return entries.sort((a, b) => a.order - b.order).map(({ frame }) => frame)
  }

  #sendLater (follower: Follower, item: Outgoing): void {
    if (follower.outbox.closed) return
    this.#settle(follower).push(item)
  }

  #flushLater (): void {
    if (this.#willFlush) return
    this.#willFlush = true
    this.#clock.endOfTick(() => { this.#flush() })
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

/** Notes that the follower gets this batch. Answers whether it is the first of this tick. */
function note (follower: Follower, batch: Batch): boolean {
  // Settled: what it gets is listed already, or will be.
  if (follower.own !== undefined) return false
  const isFirst = follower.fedBy === undefined
  follower.fedBy ??= batch
  follower.mixed = !isFirst || follower.cursor > batch.begin
  return isFirst
}

function writeBatch ({ outbox }: Follower, batch: Batch): void {
  if (!outbox.writeJoined(batch.bytes(outbox.transport.inflates), batch.frames)) outbox.write(batch.frames)
}

function writeOwn (follower: Follower): void {
  const { own, outbox } = follower
  follower.own = undefined
  if (own !== undefined) outbox.write(own)
}

function isWaiting (follower: Follower, { channel, meanwhile }: Entrance): boolean {
  return meanwhile === undefined ? channel.followers.has(follower) : channel.isEntering(follower, meanwhile)
}

function forgetReplay (follower: Follower, replay: Replay): void {
  follower.replays?.delete(replay)
  if (follower.replays?.size === 0) follower.replays = undefined
}

import type { Broker, Joined, Position, Publication, Stream } from '../streams/broker.js'
import type { Clock } from '../util/clock.js'
import { all, proceed, type MaybePromise } from '../util/maybe-promise.js'
import { Channel, type Batch, type Entry, type Subscriber } from './channel.js'
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

/** A subscriber on its way into a channel. */
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
  /** Batches, and subscribers with something of their own, since the last flush. */
  #batches: Batch[] = []
  #settled: Subscriber[] = []
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
  join (subscriber: Subscriber, requests: readonly JoinRequest[], greet: Greet): MaybePromise<void> {
    const entrances = requests.map((request) => this.#approach(subscriber, request))
    return proceed(() => all(requests.map(({ stream, since }) => () => this.#broker.join(stream, since))), (answers) => {
      const entered = new Map<Stream, Entered & { readonly past: Replay }>()
      entrances.forEach((entrance, at) => {
        const { channel: { stream }, have } = entrance
        const answer = answers[at]
        if (answer === undefined || !isWaiting(subscriber, entrance)) return
        const past = this.#framing.replay(stream, answer.replay, answer.recovered ? 'missed' : 'snapshot', have)
        entered.set(stream, { ...answer, past, replaying: past.messages, replayBytes: past.bytes })
      })
      if (entered.size > 0 && !subscriber.outbox.closed) {
        this.send(subscriber, greet(entered))
        for (const entrance of entrances) {
          const answer = entered.get(entrance.channel.stream)
          // Of a stream that was asked for twice, only the later entrance is open.
          if (answer !== undefined && isWaiting(subscriber, entrance)) this.#enter(subscriber, entrance, answer, answer.past)
        }
      }
      this.#abandon(subscriber, entrances)
    }, (error) => {
      this.#abandon(subscriber, entrances)
      throw error
    })
  }

  /** Ends following. New messages that were delivered before still go out, what is left of the past does not. */
  leave (subscriber: Subscriber, stream: Stream): void {
    const channel = this.#channels.get(stream)
    if (channel === undefined) return
    channel.unenter(subscriber)
    for (const [replay, ofChannel] of subscriber.replays ?? []) if (ofChannel === channel) replay.stop()
    if (channel.subscribers.has(subscriber)) {
      this.#settle(subscriber)
      channel.subscribers.delete(subscriber)
      subscriber.channels = subscriber.channels.filter((other) => other !== channel)
    }
    this.#dispose(channel)
  }

  /** Sends nothing more of the past. */
  stopReplays (subscriber: Subscriber): void {
    for (const replay of subscriber.replays?.keys() ?? []) replay.stop()
  }

  /** Sends what was delivered so far, and nothing after it. Calls back when the socket has been given all of it. */
  finish (subscriber: Subscriber, finished: () => void): void {
    this.#settle(subscriber)
    writeOwn(subscriber)
    subscriber.outbox.finish(finished)
    this.#forget(subscriber)
  }

  /** The connection is gone: nothing more, and nothing that waits. */
  drop (subscriber: Subscriber): void {
    subscriber.outbox.close()
    this.stopReplays(subscriber)
    this.#forget(subscriber)
  }

  #forget (subscriber: Subscriber): void {
    for (const channel of subscriber.channels) {
      channel.subscribers.delete(subscriber)
      this.#dispose(channel)
    }
    subscriber.channels = []
    for (const channel of subscriber.entering ?? []) {
      channel.unenter(subscriber)
      this.#dispose(channel)
    }
    subscriber.own = undefined
    subscriber.fedBy = undefined
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
  send (subscriber: Subscriber, text: string): void {
    this.#sendLater(subscriber, this.#framing.direct(text))
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
    for (const subscriber of settled) {
      // Gone meanwhile.
      if (subscriber.own === undefined) continue
      this.#settle(subscriber)
      writeOwn(subscriber)
    }
    for (const { channel } of batches) channel.sent()
  }

  #approach (subscriber: Subscriber, { stream, have }: JoinRequest): Entrance {
    const channel = this.#open(stream)
    if (channel.subscribers.has(subscriber)) return { channel, have }
    return { channel, have, meanwhile: channel.enter(subscriber) }
  }

  #enter (subscriber: Subscriber, { channel, meanwhile }: Entrance, joined: Joined, past: Replay): void {
    if (past.messages > 0) {
      const replays = subscriber.replays ??= new Map<Replay, Channel>()
      replays.set(past, channel)
      past.ended = () => { forgetReplay(subscriber, past) }
      this.#sendLater(subscriber, past)
    }
    if (meanwhile === undefined) return
    for (const { revision, frame } of meanwhile) if (revision > joined.revision) this.#sendLater(subscriber, frame)
    channel.unenter(subscriber)
    channel.subscribers.add(subscriber)
    subscriber.channels = subscriber.channels.concat(channel)
  }

  /** Ends what did not come to an entrance. */
  #abandon (subscriber: Subscriber, entrances: readonly Entrance[]): void {
    for (const { channel, meanwhile } of entrances) {
      if (meanwhile !== undefined && channel.isEntering(subscriber, meanwhile)) channel.unenter(subscriber)
      this.#dispose(channel)
    }
  }

  /** What a tick often is: one channel has news, so nobody has news of two. */
  #writeToAll (batch: Batch, end: number): void {
    for (const subscriber of batch.channel.subscribers) {
      // Settled: what it gets is listed already, or will be.
      if (subscriber.own !== undefined) continue
      if (subscriber.cursor <= batch.begin) this.#writeWhole(subscriber, batch, end)
      else this.#writeComing(subscriber)
    }
  }

  #writeToEach (batches: readonly Batch[], end: number): void {
    const noted: Subscriber[] = []
    for (const batch of batches) {
      for (const subscriber of batch.channel.subscribers) if (note(subscriber, batch)) noted.push(subscriber)
    }
    for (const subscriber of noted) {
      const { fedBy, mixed } = subscriber
      subscriber.fedBy = undefined
      // Gone or settled since it was noted.
      if (fedBy === undefined || subscriber.own !== undefined) continue
      if (mixed) this.#writeComing(subscriber)
      else this.#writeWhole(subscriber, fedBy, end)
    }
  }

  /** The cursor goes first: a write may shed, and whoever hears of that may ask where the subscriber is. */
  #writeWhole (subscriber: Subscriber, batch: Batch, end: number): void {
    subscriber.cursor = end
    writeBatch(subscriber, batch)
  }

  #writeComing (subscriber: Subscriber): void {
    const coming = this.#coming(subscriber)
    subscriber.cursor = this.#order
    subscriber.outbox.write(coming)
  }

  /** Lists what the subscriber has coming up to now, so that what happens next comes after it. */
  #settle (subscriber: Subscriber): Outgoing[] {
    const coming = this.#coming(subscriber)
    subscriber.cursor = this.#order
    if (subscriber.own === undefined) {
      subscriber.own = coming
      this.#settled.push(subscriber)
      this.#flushLater()
    } else {
      for (const frame of coming) subscriber.own.push(frame)
    }
    return subscriber.own
  }

  /** The frames for the subscriber from its cursor on, in the order of their delivery. */
  #coming ({ channels, cursor }: Subscriber): Frame[] {
    const entries: Entry[] = []
    for (const { current, next } of channels) {
      current?.collect(cursor, entries)
      next?.collect(cursor, entries)
    }
    return entries.sort((a, b) => a.order - b.order).map(({ frame }) => frame)
  }

  #sendLater (subscriber: Subscriber, item: Outgoing): void {
    if (subscriber.outbox.closed) return
    this.#settle(subscriber).push(item)
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

/** Notes that the subscriber gets this batch. Answers whether it is the first of this tick. */
function note (subscriber: Subscriber, batch: Batch): boolean {
  // Settled: what it gets is listed already, or will be.
  if (subscriber.own !== undefined) return false
  const isFirst = subscriber.fedBy === undefined
  subscriber.fedBy ??= batch
  subscriber.mixed = !isFirst || subscriber.cursor > batch.begin
  return isFirst
}

function writeBatch ({ outbox }: Subscriber, batch: Batch): void {
  if (!outbox.writeJoined(batch.bytes(outbox.transport.inflates), batch.frames)) outbox.write(batch.frames)
}

function writeOwn (subscriber: Subscriber): void {
  const { own, outbox } = subscriber
  subscriber.own = undefined
  if (own !== undefined) outbox.write(own)
}

function isWaiting (subscriber: Subscriber, { channel, meanwhile }: Entrance): boolean {
  return meanwhile === undefined ? channel.subscribers.has(subscriber) : channel.isEntering(subscriber, meanwhile)
}

function forgetReplay (subscriber: Subscriber, replay: Replay): void {
  subscriber.replays?.delete(replay)
  if (subscriber.replays?.size === 0) subscriber.replays = undefined
}

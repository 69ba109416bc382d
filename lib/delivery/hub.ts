import type { Broker, Joined, JoinOptions, Publication, Stream } from '../streams/broker.js'
import type { Clock } from '../util/clock.js'
import { all, andThen, tryThen, type MaybePromise } from '../util/maybe-promise.js'
import { Channel, type Batch, type Entry, type Subscriber } from './channel.js'
import type { DeflateSettings, Frame } from './frame.js'
import { Framing } from './framing.js'
import type { Outgoing } from './outbox.js'
import type { Replay } from './replay.js'

export interface JoinRequest extends JoinOptions {
  readonly stream: Stream
}

/** The result of joining a stream, and the size of the replay that the subscriber gets. */
export interface JoinedStream extends Joined {
  /** Number of replayed messages: the length of `replay`, and more if a text is sent in pieces. */
  readonly replaying: number
  /** Approximate size of these messages, in bytes. */
  readonly replayBytes: number
}

/** The result of joining the stream for everyone. No revision is covered, so it skips no publication. */
const NOTHING_MISSED: Joined = { epoch: '', seq: 0, revision: -Infinity, recovered: true, replay: [] }

/** Returns the message that the subscriber gets before any message of the joined streams. */
export type MakeJoinReply = (joined: ReadonlyMap<Stream, JoinedStream>) => string

/** A subscriber's pending join of a channel. */
interface PendingJoin {
  readonly channel: Channel
  readonly have: JoinOptions['have']
  /** Publications delivered since the join began. Absent if it is subscribed already and only requests its position. */
  readonly arrived?: Entry[]
}

export interface HubOptions {
  readonly broker: Broker
  readonly clock: Clock
  readonly deflate?: DeflateSettings | undefined
}

/**
 * Delivers publications to the subscribers of their stream. Each connection gets its messages in the order of the calls,
 * including direct replies.
 *
 * The hub collects the publications of one tick and flushes them at its end, with one write per connection. Most connections
 * have a single channel with new publications. That channel's frames are joined once, and the same bytes are written to all
 * of its subscribers. For some connections this would break the order: a direct reply came in between, two channels have
 * publications, or the connection joined or left in the middle of the tick. Such a connection gets its own queue of frames.
 *
 * Every delivery has a number in one global order, and each subscriber has a cursor in it. Deliveries before the cursor are
 * written, queued or not for this subscriber. So a change has the same effect between two flushes and during one, for
 * example when a slow consumer is closed.
 */
export class Hub {
  readonly #broker: Broker
  readonly #clock: Clock
  readonly #framing: Framing
  readonly #channels = new Map<Stream, Channel>()
  /** Batches, and subscribers with their own queue, since the last flush. */
  #batches: Batch[] = []
  #queued: Subscriber[] = []
  #order = 0
  #willFlush = false

  constructor ({ broker, clock, deflate }: HubOptions) {
    this.#broker = broker
    this.#clock = clock
    this.#framing = new Framing(clock, deflate)
  }

  /** Returns how many connections of this node are subscribed to the stream, pending joins included. */
  count (stream: Stream): number {
    return this.#channels.get(stream)?.size ?? 0
  }

  /**
   * Subscribes to several streams together. Once the broker has joined them all, it calls `makeReply` with the results. It sends
   * the message that `makeReply` returns, then the replays, then the publications that arrived in the meantime. Streams that the
   * subscriber has left by then have no result; if none is left, `makeReply` is not called.
   *
   * @throws The broker's error, if it can't join a stream. Then no new subscription exists.
   */
  join (subscriber: Subscriber, requests: readonly JoinRequest[], makeReply: MakeJoinReply): MaybePromise<void> {
    const joins = requests.map((request) => this.#beginJoin(subscriber, request))
    return tryThen(() => this.#ask(requests), (results) => {
      const joined = new Map<Stream, JoinedStream & { readonly frames: Replay }>()
      joins.forEach((join, at) => {
        const { channel: { stream }, have } = join
        const result = results[at]
        if (result === undefined || !isPending(subscriber, join)) return
        const frames = this.#framing.replay(stream, result.replay, result.recovered ? 'missed' : 'snapshot', have)
        joined.set(stream, { ...result, frames, replaying: frames.messages, replayBytes: frames.bytes })
      })
      if (joined.size > 0 && !subscriber.outbox.closed) {
        this.send(subscriber, makeReply(joined))
        for (const join of joins) {
          const result = joined.get(join.channel.stream)
          // If a stream is requested twice, only the later join is still pending.
          if (result !== undefined && isPending(subscriber, join)) this.#completeJoin(subscriber, join, result, result.frames)
        }
      }
      this.#endPendingJoins(subscriber, joins)
    }, (error) => {
      this.#endPendingJoins(subscriber, joins)
      throw error
    })
  }

  /**
   * Joins a stream again for all its subscribers, because the broker has lost history of it. Each gets what was delivered before,
   * then the message that `makeReply` returns, a snapshot, and what was published in the meantime.
   *
   * @throws The broker's error, if it can't join the stream. Then its subscribers get nothing more: disconnect them.
   */
  restart (stream: Stream, makeReply: (joined: JoinedStream) => string): MaybePromise<void> {
    const channel = this.#channels.get(stream)
    if (channel === undefined) return
    channel.restart()
    const joins = [...channel.subscribers].map((subscriber) => {
      this.#unsubscribe(subscriber, channel)
      return { subscriber, join: { channel, have: undefined, arrived: channel.beginJoin(subscriber) } }
    })
    return andThen(this.#ask([{ stream }]), ([result]) => {
      for (const { subscriber, join } of joins) {
        if (result === undefined || !isPending(subscriber, join)) continue
        const joined = { ...result, recovered: false, reason: 'restarted' } as const
        const frames = this.#framing.replay(stream, joined.replay, 'snapshot', undefined)
        this.send(subscriber, makeReply({ ...joined, replaying: frames.messages, replayBytes: frames.bytes }))
        this.#completeJoin(subscriber, join, joined, frames)
      }
      this.#deleteIfEmpty(channel)
    })
  }

  /** Returns the streams that a connection is subscribed to, or is about to be. */
  streamsOf ({ channels, joining }: Subscriber): Stream[] {
    return [...channels, ...joining ?? []].map(({ stream }) => stream)
  }

  /** Unsubscribes from a stream. Publications delivered before are still sent; the rest of a replay is not. */
  leave (subscriber: Subscriber, stream: Stream): void {
    const channel = this.#channels.get(stream)
    if (channel === undefined) return
    channel.endJoin(subscriber)
    if (channel.subscribers.has(subscriber)) this.#unsubscribe(subscriber, channel)
    this.#deleteIfEmpty(channel)
  }

  /** Stops all replays of a subscriber. */
  stopReplays (subscriber: Subscriber): void {
    for (const replay of subscriber.replays?.keys() ?? []) replay.stop()
  }

  /** Sends what was delivered so far and nothing more. Calls back when all of it was written to the socket. */
  finish (subscriber: Subscriber, finished: () => void): void {
    this.#queueDue(subscriber)
    writeQueue(subscriber)
    subscriber.outbox.finish(finished)
    this.#leaveAll(subscriber)
  }

  /** Removes a closed connection, and discards everything that is queued for it. */
  drop (subscriber: Subscriber): void {
    subscriber.outbox.close()
    this.stopReplays(subscriber)
    this.#leaveAll(subscriber)
  }

  #leaveAll (subscriber: Subscriber): void {
    for (const channel of subscriber.channels) {
      channel.subscribers.delete(subscriber)
      this.#deleteIfEmpty(channel)
    }
    subscriber.channels = []
    for (const channel of subscriber.joining ?? []) {
      channel.endJoin(subscriber)
      this.#deleteIfEmpty(channel)
    }
    subscriber.queue = undefined
    subscriber.firstBatch = undefined
  }

  /** Delivers a publication to all subscribers of its stream. Returns how many there are. */
  deliver (stream: Stream, publication: Publication): number {
    const channel = this.#channels.get(stream)
    if (channel === undefined) return 0
    const entry = { frame: this.#framing.live(stream, publication), revision: publication.revision, order: this.#order++ }
    const batch = channel.add(entry)
    if (batch !== undefined) {
      this.#batches.push(batch)
      this.#scheduleFlush()
    }
    return channel.size
  }

  /** Sends a message to a single connection, after everything that was delivered to it so far. */
  send (subscriber: Subscriber, text: string): void {
    this.#enqueue(subscriber, this.#framing.direct(text))
  }

  /**
   * Writes everything that is due. A write may close a slow consumer, and its close handler may publish, join, leave or close
   * other connections. Publications made meanwhile go into the next batches. A connection that was not written to yet may get
   * them in this flush already, through its queue or its cursor, and then does not get them again.
   */
  #flush (): void {
    this.#willFlush = false
    const [batches, queued] = [this.#batches, this.#queued]
    // The end of these batches in the global order.
    const end = this.#order
    this.#batches = []
    this.#queued = []
    for (const { channel } of batches) channel.beginFlush()
    const [only, another] = batches
    if (only !== undefined && another === undefined) this.#writeToAll(only, end)
    else this.#writeToEach(batches, end)
    for (const subscriber of queued) {
      // Written or dropped in the meantime.
      if (subscriber.queue === undefined) continue
      this.#queueDue(subscriber)
      writeQueue(subscriber)
    }
    for (const { channel } of batches) channel.endFlush()
  }

  /** Joins streams at the broker. Does it again if history was lost meanwhile, because the results may describe what is gone. */
  #ask (requests: readonly JoinRequest[]): MaybePromise<readonly Joined[]> {
    const channels = requests.map(({ stream }) => this.#channels.get(stream))
    const restarts = channels.map((channel) => channel?.restarts)
    return andThen(all(requests.map((request) => () => this.#joinAtBroker(request))), (results) => {
      return channels.every((channel, at) => channel?.restarts === restarts[at]) ? results : this.#ask(requests)
    })
  }

  /** The stream for everyone keeps nothing, and the broker delivers it to every node. */
  #joinAtBroker (request: JoinRequest): MaybePromise<Joined> {
    return request.stream === 'all' ? NOTHING_MISSED : this.#broker.join(request.stream, request)
  }

  /** Ends a subscription. Publications delivered before are still sent. */
  #unsubscribe (subscriber: Subscriber, channel: Channel): void {
    for (const [replay, ofChannel] of subscriber.replays ?? []) if (ofChannel === channel) replay.stop()
    this.#queueDue(subscriber)
    channel.subscribers.delete(subscriber)
    subscriber.channels = subscriber.channels.filter((other) => other !== channel)
  }

  #beginJoin (subscriber: Subscriber, { stream, have }: JoinRequest): PendingJoin {
    const channel = this.#open(stream)
    if (channel.subscribers.has(subscriber)) return { channel, have }
    return { channel, have, arrived: channel.beginJoin(subscriber) }
  }

  #completeJoin (subscriber: Subscriber, { channel, arrived }: PendingJoin, joined: Joined, frames: Replay): void {
    if (frames.messages > 0) {
      const replays = subscriber.replays ??= new Map<Replay, Channel>()
      replays.set(frames, channel)
      frames.ended = () => { deleteReplay(subscriber, frames) }
      this.#enqueue(subscriber, frames)
    }
    if (arrived === undefined) return
    for (const { revision, frame } of arrived) if (revision > joined.revision) this.#enqueue(subscriber, frame)
    channel.endJoin(subscriber)
    channel.subscribers.add(subscriber)
    subscriber.channels = subscriber.channels.concat(channel)
  }

  /** Ends the joins that are still pending. */
  #endPendingJoins (subscriber: Subscriber, joins: readonly PendingJoin[]): void {
    for (const { channel, arrived } of joins) {
      if (arrived !== undefined && channel.isJoining(subscriber, arrived)) channel.endJoin(subscriber)
      this.#deleteIfEmpty(channel)
    }
  }

  /** Fast path for the most common tick: only one channel has publications (benchmark row `sessions`). */
  #writeToAll (batch: Batch, end: number): void {
    for (const subscriber of batch.channel.subscribers) {
      // It has its own queue.
      if (subscriber.queue !== undefined) continue
      if (subscriber.cursor <= batch.begin) this.#writeWhole(subscriber, batch, end)
      else this.#writeDue(subscriber)
    }
  }

  #writeToEach (batches: readonly Batch[], end: number): void {
    const targets: Subscriber[] = []
    for (const batch of batches) {
      for (const subscriber of batch.channel.subscribers) if (noteBatch(subscriber, batch)) targets.push(subscriber)
    }
    for (const subscriber of targets) {
      const { firstBatch, mixed } = subscriber
      subscriber.firstBatch = undefined
      // It was closed, or got its own queue, since the first loop.
      if (firstBatch === undefined || subscriber.queue !== undefined) continue
      if (mixed) this.#writeDue(subscriber)
      else this.#writeWhole(subscriber, firstBatch, end)
    }
  }

  /** Moves the cursor first: the write may close a slow consumer, whose close handler may use the cursor. */
  #writeWhole (subscriber: Subscriber, batch: Batch, end: number): void {
    subscriber.cursor = end
    writeBatch(subscriber, batch)
  }

  #writeDue (subscriber: Subscriber): void {
    const due = this.#dueFrames(subscriber)
    subscriber.cursor = this.#order
    subscriber.outbox.write(due)
  }

  /** Moves everything that is due to the subscriber's own queue, so that whatever is added next comes after it. */
  #queueDue (subscriber: Subscriber): Outgoing[] {
    const due = this.#dueFrames(subscriber)
    subscriber.cursor = this.#order
    if (subscriber.queue === undefined) {
      subscriber.queue = due
      this.#queued.push(subscriber)
      this.#scheduleFlush()
    } else {
      for (const frame of due) subscriber.queue.push(frame)
    }
    return subscriber.queue
  }

  /** Returns the frames from the subscriber's cursor on, in the order of their delivery. */
  #dueFrames ({ channels, cursor }: Subscriber): Frame[] {
    const entries: Entry[] = []
    for (const { current, next } of channels) {
      current?.collect(cursor, entries)
      next?.collect(cursor, entries)
    }
    return entries.sort((a, b) => a.order - b.order).map(({ frame }) => frame)
  }

  #enqueue (subscriber: Subscriber, item: Outgoing): void {
    if (subscriber.outbox.closed) return
    this.#queueDue(subscriber).push(item)
  }

  #scheduleFlush (): void {
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

  /** Deletes a channel that has no subscribers. */
  #deleteIfEmpty (channel: Channel): void {
    if (channel.size > 0 || this.#channels.get(channel.stream) !== channel) return
    this.#channels.delete(channel.stream)
    if (channel.stream !== 'all') this.#broker.leave(channel.stream)
  }
}

/** Notes that the subscriber gets this batch. Returns whether it is the first one in this flush. */
function noteBatch (subscriber: Subscriber, batch: Batch): boolean {
  // It has its own queue.
  if (subscriber.queue !== undefined) return false
  const isFirst = subscriber.firstBatch === undefined
  subscriber.firstBatch ??= batch
  subscriber.mixed = !isFirst || subscriber.cursor > batch.begin
  return isFirst
}

function writeBatch ({ outbox }: Subscriber, batch: Batch): void {
  if (!outbox.writeJoined(batch.bytes(outbox.transport.inflates), batch.frames)) outbox.write(batch.frames)
}

function writeQueue (subscriber: Subscriber): void {
  const { queue, outbox } = subscriber
  subscriber.queue = undefined
  if (queue !== undefined) outbox.write(queue)
}

function isPending (subscriber: Subscriber, { channel, arrived }: PendingJoin): boolean {
  return arrived === undefined ? channel.subscribers.has(subscriber) : channel.isJoining(subscriber, arrived)
}

function deleteReplay (subscriber: Subscriber, replay: Replay): void {
  subscriber.replays?.delete(replay)
  if (subscriber.replays?.size === 0) subscriber.replays = undefined
}

import assert from 'node:assert/strict'
import type { Message } from './ws-client.js'

/** The position of a reader in a stream, which it sends when it reconnects. */
interface Place { epoch: string, seq: number }

/** The fields of a greeting that describe a stream. */
interface Greeting extends Place { recovered: boolean, replaying: number, reason?: string }

/** A stream as a reader sees it. */
export interface View {
  /** The reader's position, which each numbered message advances. Undefined while the reader has no position. */
  place: Place | undefined
  greeting: Greeting | undefined
  /** How many of the next messages are replayed. */
  replaying: number
  /** The snapshot that the reader received because it could not be recovered. */
  present: Message[]
  /** The numbered messages after the snapshot, in order. */
  messages: Message[]
  /** The newest progress of each job. */
  progress: Map<string, Message>
}

/** The part of a job's text that the reader has. `start` is above 0 only if the server reported that the beginning is gone. */
export interface HeldText { start: number, text: string, truncated: boolean }

/**
 * A model of a client, written from the protocol alone and without a socket. It tracks its position in each stream and joins
 * texts by their offsets. It treats every duplicate, gap or wrong order of messages as an error.
 */
export class Reader {
  readonly views = new Map<string, View>()
  readonly texts = new Map<string, HeldText>()
  /** Sessions in which a text has a gap. The test must request the missing part with `subscribe` and `have`. */
  readonly gaps = new Set<string>()

  view (stream: string): View {
    let view = this.views.get(stream)
    if (view === undefined) {
      view = { place: undefined, greeting: undefined, replaying: 0, present: [], messages: [], progress: new Map() }
      this.views.set(stream, view)
    }
    return view
  }

  /** Returns the reader's position, in the format of a query or a `subscribe` message. */
  since (stream: string): string | undefined {
    const place = this.views.get(stream)?.place
    return place && `${place.epoch}:${place.seq}`
  }

  /** The end of each job's text that the reader has, by job id. */
  get have (): Record<string, number> {
    return Object.fromEntries([...this.texts].map(([jobId, { start, text }]) => [jobId, start + text.length]))
  }

  /** Returns the text of a job that the reader has. */
  text (jobId: string): string {
    return this.texts.get(jobId)?.text ?? ''
  }

  take (message: Message): void {
    switch (message.type) {
      case 'connection':
        if (message.sessionId !== undefined) this.#greet(`session:${String(message.sessionId)}`, message)
        if (message.user !== undefined) this.#greet('user', message.user as Message)
        break
      case 'subscribed':
        this.#greet(`session:${String(message.sessionId)}`, message)
        break
      case 'pong': case 'error': case 'unsubscribed': case 'cancelling':
        break
      default:
        if (message.userSeq !== undefined) this.#follow(this.view('user'), message, message.userSeq as number)
        else if (message.sessionId !== undefined) this.#follow(this.view(`session:${String(message.sessionId)}`), message, message.seq as number | undefined)
    }
  }

  #greet (stream: string, message: Message): void {
    const { epoch, seq, recovered, replaying, reason } = message as unknown as Greeting
    const view = this.view(stream)
    view.greeting = { epoch, seq, recovered, replaying, ...(reason !== undefined && { reason }) }
    view.replaying = replaying
    if (recovered) {
      assert.equal(view.place?.epoch, epoch, 'what is continued is the same epoch')
      assert.equal(reason, undefined)
      return
    }
    assert.equal(typeof reason, 'string', 'who is not recovered is told why')
    view.present = []
    view.messages = []
    view.progress.clear()
    // The reader has no position until it has the whole snapshot. If it is disconnected before that, it must not claim that it
    // is at the head.
    view.place = undefined
    this.#arrive(view)
  }

  #arrive (view: View): void {
    const { greeting } = view
    if (view.replaying === 0 && greeting?.recovered === false) view.place ??= { epoch: greeting.epoch, seq: greeting.seq }
  }

  #follow (view: View, message: Message, seq: number | undefined): void {
    const isPresent = view.replaying > 0 && view.greeting?.recovered === false
    const mark = view.replaying === 0 ? undefined : isPresent ? 'snapshot' : 'missed'
    assert.equal(message.replayed, mark, `it says whether it is from the past: ${JSON.stringify(message)}`)
    if (view.replaying > 0) view.replaying--
    if (message.type === 'ai_progress') this.#progress(view, message)
    if (isPresent) {
      view.present.push(message)
    } else if (seq !== undefined) {
      assert(view.place, `it follows, so it is somewhere: ${JSON.stringify(message)}`)
      assert.equal(seq, view.place.seq + 1, `nothing is missed and nothing comes twice: ${JSON.stringify(message)}`)
      view.place = { epoch: view.place.epoch, seq }
      view.messages.push(message)
    }
    this.#arrive(view)
  }

  #progress (view: View, message: Message): void {
    const { jobId, progress, sessionId } = message as Message & { progress: { delta?: string, offset?: number, truncated?: boolean } }
    view.progress.set(jobId as string, message)
    const { delta, offset, truncated = false } = progress
    if (delta === undefined) return
    assert(typeof offset === 'number')
    const held = this.texts.get(jobId as string) ?? { start: 0, text: '', truncated: false }
    this.texts.set(jobId as string, held)
    const end = held.start + held.text.length
    if (offset > end && truncated) {
      held.start = offset
      held.text = delta
      held.truncated = true
    } else if (offset > end) {
      this.gaps.add(sessionId as string)
    } else if (offset + delta.length > end) {
      held.text += delta.slice(end - offset)
    }
  }
}

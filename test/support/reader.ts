import assert from 'node:assert/strict'
import type { Message } from './ws-client.js'

/** Where a reader is in a stream, as it says it when it comes back. */
interface Place { epoch: string, seq: number }

/** What a greeting says of a stream. */
interface Greeting extends Place { recovered: boolean, replaying: number, reason?: string }

/** A stream as a reader sees it. */
export interface View {
  /** Advanced by what it was delivered; absent while it can't say where it is. */
  place: Place | undefined
  greeting: Greeting | undefined
  /** How many of the next messages are from the past. */
  replaying: number
  /** The present state that it was given when it could not be recovered. */
  present: Message[]
  /** The numbered messages since then, in order. */
  messages: Message[]
  /** The newest progress of each job. */
  progress: Map<string, Message>
}

/** A job's text, as far as it is held. `start` is above 0 only when the server told that the beginning is gone. */
export interface HeldText { start: number, text: string, truncated: boolean }

/**
 * What a client does with what it is sent, written from the protocol alone and without a socket: it knows where it is in
 * each stream, stitches texts by their place, and takes every double, gap or disorder for a fault.
 */
export class Reader {
  readonly views = new Map<string, View>()
  readonly texts = new Map<string, HeldText>()
  /** Sessions in whose text a gap showed: to be asked for with `subscribe` and `have`. */
  readonly gaps = new Set<string>()

  view (stream: string): View {
    let view = this.views.get(stream)
    if (view === undefined) {
      view = { place: undefined, greeting: undefined, replaying: 0, present: [], messages: [], progress: new Map() }
      this.views.set(stream, view)
    }
    return view
  }

  /** Its position, as it is written in a query or a `subscribe`. */
  since (stream: string): string | undefined {
    const place = this.views.get(stream)?.place
    return place && `${place.epoch}:${place.seq}`
  }

  /** What it holds of jobs' texts. */
  get have (): Record<string, number> {
    return Object.fromEntries([...this.texts].map(([jobId, { start, text }]) => [jobId, start + text.length]))
  }

  /** Its text of a job. */
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
    // Until it has the present state it is nowhere: dropped now, it must not say that it saw the head.
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

import type { Publication, Stream, TextSpan } from '../streams/broker.js'
import { isoTimestamps, type Clock } from '../util/clock.js'
import type { Replayed } from '../protocol/messages.js'
import { Frame, type DeflateSettings } from './frame.js'
import { FrameCache, type Mark } from './frame-cache.js'
import { Replay } from './replay.js'

/** A progress whose body is longer goes with the last piece of its text alone, in UTF-16 units. */
const MAX_REPEATED_BODY = 1024

/** How much of jobs' texts a reader holds, in UTF-16 units, by job. */
export type HeldTexts = ReadonlyMap<string, number>

/** Makes the frames of publications: each once, however many readers get it. */
export class Framing {
  readonly #deflate: DeflateSettings | undefined
  readonly #shared: FrameCache
  readonly #timestamp: () => string

  constructor (clock: Clock, deflate: DeflateSettings | undefined) {
    this.#deflate = deflate
    this.#shared = new FrameCache(clock)
    this.#timestamp = isoTimestamps(clock)
  }

  /** A message for one connection. */
  direct (text: string): Frame {
    return new Frame(text, { deflate: this.#deflate })
  }

  /** A publication, for those who follow its stream now. */
  live (stream: Stream, publication: Publication): Frame {
    const { body, durable, text, jobId } = publication
    const addition = additionTo(stream, publication)
    if (durable) return new Frame(body, { addition, deflate: this.#deflate })
    return new Frame(text === undefined ? body : withText(publication, text, text.from), {
      addition,
      deflate: this.#deflate,
      // The length tells where the stream's name ends: both names may hold any character.
      collapseKey: jobId === undefined ? undefined : `${stream.length} ${stream}${jobId}`,
      piece: text && {
        from: text.from,
        startingAt: (from) => new Replay([publication], () => from, (...piece) => this.#past(stream, 'live', ...piece))
      }
    })
  }

  /** Publications from the past, marked as such, for a reader that holds some of jobs' texts. */
  replay (stream: Stream, publications: readonly Publication[], replayed: Replayed, have: HeldTexts | undefined): Replay {
    return new Replay(publications, (jobId) => have?.get(jobId) ?? 0, (...piece) => this.#past(stream, replayed, ...piece))
  }

  /** A publication from the past, or with a place in its text that comes before its end, the piece of the text up to there. */
  #past (stream: Stream, mark: Mark, publication: Publication, from: number, to: number | undefined): Frame {
    const { durable, text, revision, jobId } = publication
    if (durable && mark === 'missed') return this.#missed(stream, publication)
    // Replaced by no newer progress: the reader was told how many messages come from the past.
    const make = (body: Publication, span?: TextSpan): Frame => new Frame(span === undefined ? body.body : withText(body, span, from), {
      addition: additionTo(stream, publication, mark), deflate: this.#deflate
    })
    if (durable) return this.#shared.frame(mark, publication, publication, undefined, () => make(publication))
    if (text === undefined) return make(publication)
    // A piece before the last one stays as it is while the text grows.
    const name = JSON.stringify([stream, jobId, from, to ?? text.to])
    return this.#shared.frame(mark, name, text.source, to === undefined ? revision : undefined, () => {
      if (to === undefined) return make(publication, text)
      return make(publication.body.length > MAX_REPEATED_BODY ? this.#shortened(stream, publication) : publication, { ...text, to })
    })
  }

  /** A progress without its numbers. */
  #shortened (stream: Stream, publication: Publication): Publication {
    const head = `{"type":"ai_progress","sessionId":${JSON.stringify(stream.slice(stream.indexOf(':') + 1))},"progress":{`
    return { ...publication, body: `${head}},"timestamp":"${this.#timestamp()}"}`, textAt: head.length }
  }

  /** Kept with the publication: of the frames of a message this is the one that is sent again and again. */
  #missed (stream: Stream, publication: Publication): Frame {
    if (!(publication.made instanceof Frame)) {
      const addition = additionTo(stream, publication, 'missed')
      publication.made = new Frame(publication.body, { addition, deflate: this.#deflate, isKept: true })
    }
    return publication.made as Frame
  }
}

/** Returns the fields behind those of a publication's body: what the broker decided, and whether the message is a replay. */
function additionTo (stream: Stream, { seq, jobId, supersedes }: Publication, mark: Mark = 'live'): string | undefined {
  if (seq === undefined && jobId === undefined && mark === 'live') return undefined
  const job = jobId === undefined ? '' : `,"jobId":${JSON.stringify(jobId)}${supersedes === true ? ',"supersedes":true' : ''}`
  const number = seq === undefined ? '' : `,"${stream.startsWith('user:') ? 'userSeq' : 'seq'}":${seq}`
  return `${job}${number}${mark === 'live' ? '' : `,"replayed":"${mark}"`}}`
}

/** A progress's body, and in it its text from a place on. */
function withText ({ body, textAt }: Publication, { source, to }: TextSpan, from: number): string {
  if (textAt === undefined || from >= to) return body
  const { text, offset, truncated } = source.slice(from, to)
  const comma = body[textAt - 1] === '{' ? '' : ','
  const piece = `${comma}"delta":${JSON.stringify(text)},"offset":${offset}${truncated ? ',"truncated":true' : ''}`
  return body.slice(0, textAt) + piece + body.slice(textAt)
}

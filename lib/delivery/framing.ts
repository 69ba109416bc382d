import type { Publication, Stream, TextSpan } from '../broker/broker.js'
import { isoTimestamps, type Clock } from '../clock.js'
import { Frame, type DeflateSettings } from './frame.js'
import { PieceCache } from './piece-cache.js'
import { Replay } from './replay.js'

/** A progress whose body is longer goes with the last piece of its text alone, in UTF-16 units. */
const MAX_REPEATED_BODY = 1024

/** How much of jobs' texts a reader holds, in UTF-16 units, by job. */
export type HeldTexts = ReadonlyMap<string, number>

/** Makes the frames of publications: each once, however many readers get it. */
export class Framing {
  readonly #deflate: DeflateSettings | undefined
  readonly #pieces: PieceCache
  readonly #timestamp: () => string

  constructor (clock: Clock, deflate: DeflateSettings | undefined) {
    this.#deflate = deflate
    this.#pieces = new PieceCache(clock)
    this.#timestamp = isoTimestamps(clock)
  }

  /** A message for one connection. */
  direct (text: string): Frame {
    return new Frame(text, { deflate: this.#deflate })
  }

  /** A publication, for those who follow its stream now. */
  live (stream: Stream, publication: Publication): Frame {
    if (publication.durable) return this.#durable(stream, publication)
    const { body, text, jobId } = publication
    return new Frame(text === undefined ? body : withText(publication, text, text.from), {
      addition: additionTo(stream, publication),
      deflate: this.#deflate,
      // The length tells where the stream's name ends: both names may hold any character.
      collapseKey: jobId === undefined ? undefined : `${stream.length} ${stream}${jobId}`,
      piece: text && {
        from: text.from,
        startingAt: (from) => new Replay([publication], () => from, (...piece) => this.#past(stream, ...piece))
      }
    })
  }

  /** Publications from the past, for a reader that holds some of jobs' texts. */
  replay (stream: Stream, publications: readonly Publication[], have: HeldTexts | undefined): Replay {
    return new Replay(publications, (jobId) => have?.get(jobId) ?? 0, (...piece) => this.#past(stream, ...piece))
  }

  /** A publication from the past, or with a place in its text that comes before its end, the piece of the text up to there. */
  #past (stream: Stream, publication: Publication, from: number, to: number | undefined): Frame {
    const { text, revision, jobId } = publication
    if (publication.durable) return this.#durable(stream, publication)
    // Replaced by no newer progress: the reader was told how many messages come from the past.
    const make = (body: Publication, span?: TextSpan): Frame => new Frame(span === undefined ? body.body : withText(body, span, from), {
      addition: additionTo(stream, publication), deflate: this.#deflate
    })
    if (text === undefined) return make(publication)
    // A piece before the last one stays as it is while the text grows.
    const name = JSON.stringify([stream, jobId, from, to ?? text.to])
    return this.#pieces.frame(name, text.source, to === undefined ? revision : undefined, () => {
      if (to === undefined) return make(publication, text)
      return make(publication.body.length > MAX_REPEATED_BODY ? this.#shortened(stream, publication) : publication, { ...text, to })
    })
  }

  /** A progress without its numbers. */
  #shortened (stream: Stream, publication: Publication): Publication {
    const head = `{"type":"ai_progress","sessionId":${JSON.stringify(stream.slice(stream.indexOf(':') + 1))},"progress":{`
    return { ...publication, body: `${head}},"timestamp":"${this.#timestamp()}"}`, textAt: head.length }
  }

  #durable (stream: Stream, publication: Publication): Frame {
    if (!(publication.made instanceof Frame)) {
      publication.made = new Frame(publication.body, { addition: additionTo(stream, publication), deflate: this.#deflate, isKept: true })
    }
    return publication.made as Frame
  }
}

/** What the broker decided of a publication, as fields behind those of its body. */
function additionTo (stream: Stream, { seq, jobId, supersedes }: Publication): string | undefined {
  if (seq === undefined && jobId === undefined) return undefined
  const job = jobId === undefined ? '' : `,"jobId":${JSON.stringify(jobId)}${supersedes === true ? ',"supersedes":true' : ''}`
  return seq === undefined ? `${job}}` : `${job},"${stream.startsWith('user:') ? 'userSeq' : 'seq'}":${seq}}`
}

/** A progress's body, and in it its text from a place on. */
function withText ({ body, textAt }: Publication, { source, to }: TextSpan, from: number): string {
  if (textAt === undefined || from >= to) return body
  const { text, offset, truncated } = source.slice(from, to)
  const comma = body[textAt - 1] === '{' ? '' : ','
  const piece = `${comma}"delta":${JSON.stringify(text)},"offset":${offset}${truncated ? ',"truncated":true' : ''}`
  return body.slice(0, textAt) + piece + body.slice(textAt)
}

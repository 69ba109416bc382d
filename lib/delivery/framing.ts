import { addFields, insertText, progressBody } from '../protocol/json.js'
import type { HeldTexts, Publication, Stream, TextSpan } from '../streams/broker.js'
import { isoTimestamps, type Clock } from '../util/clock.js'
import type { Replayed } from '../protocol/messages.js'
import { Frame, type DeflateSettings } from './frame.js'
import { FrameCache, type Mark } from './frame-cache.js'
import { Replay } from './replay.js'

/** A longer progress, in UTF-16 units, is sent with the last piece of its text only. Other pieces get a short progress. */
const MAX_REPEATED_BODY = 1024

/** Invalid UTF-8 becomes U+FFFD. A byte order mark stays, because it can't begin the text of an object. */
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/** Makes the frames of publications, each once for all clients. */
export class Framing {
  readonly #deflate: DeflateSettings | undefined
  readonly #shared: FrameCache
  readonly #timestamp: () => string

  constructor (clock: Clock, deflate: DeflateSettings | undefined) {
    this.#deflate = deflate
    this.#shared = new FrameCache(clock)
    this.#timestamp = isoTimestamps(clock)
  }

  /** Returns the frame of a message for one connection. */
  direct (text: string): Frame {
    return new Frame(text, { deflate: this.#deflate })
  }

  /** Returns the frame of a publication for the current subscribers of its stream. */
  live (stream: Stream, publication: Publication): Frame {
    const { durable, text, jobId } = publication
    const body = bodyText(publication)
    if (durable) return new Frame(withFields(body, stream, publication), { deflate: this.#deflate })
    return new Frame(withFields(text === undefined ? body : withText(body, text, text.from), stream, publication), {
      deflate: this.#deflate,
      // Both names may contain any character, so the length marks where the stream's name ends.
      collapseKey: jobId === undefined ? undefined : `${stream.length} ${stream}${jobId}`,
      piece: text && {
        from: text.from,
        startingAt: (from) => new Replay([publication], () => from, (...piece) => this.#replayFrame(stream, 'live', ...piece))
      }
    })
  }

  /** Returns a replay, whose messages are marked with `replayed`, for a client that already has some of the jobs' texts. */
  replay (stream: Stream, publications: readonly Publication[], replayed: Replayed, have: HeldTexts | undefined): Replay {
    return new Replay(publications, (jobId) => have?.get(jobId) ?? 0, (...piece) => this.#replayFrame(stream, replayed, ...piece))
  }

  /** Returns the frame of a replayed publication. If its text is sent in pieces, `to` is the end of a piece before the last. */
  #replayFrame (stream: Stream, mark: Mark, publication: Publication, from: number, to: number | undefined): Frame {
    const { durable, text, revision, jobId } = publication
    if (durable && mark === 'missed') return this.#recoveryFrame(stream, publication)
    const body = bodyText(publication)
    // It has no collapse key: the reply announced the exact number of replayed messages.
    const make = (body: string, span?: TextSpan): Frame => {
      const text = span === undefined ? body : withText(body, span, from)
      return new Frame(withFields(text, stream, publication, mark), { deflate: this.#deflate })
    }
    if (durable) return this.#shared.frame(mark, publication, publication, undefined, () => make(body))
    if (text === undefined) return make(body)
    // A piece before the last one does not change while the text grows, so any revision will do.
    const name = JSON.stringify([stream, jobId, from, to ?? text.to])
    return this.#shared.frame(mark, name, text.source, to === undefined ? revision : undefined, () => {
      if (to === undefined) return make(body, text)
      return make(body.length > MAX_REPEATED_BODY ? this.#emptyProgress(stream) : body, { ...text, to })
    })
  }

  /** Returns the body of a progress without fields, for a piece of text. */
  #emptyProgress (stream: Stream): string {
    return progressBody(stream.slice(stream.indexOf(':') + 1), this.#timestamp(), '{}')
  }

  /** Returns the frame for recoveries. It is kept with the publication, because it may be sent many times. */
  #recoveryFrame (stream: Stream, publication: Publication): Frame {
    if (!(publication.recoveryFrame instanceof Frame)) {
      publication.recoveryFrame = new Frame(withFields(bodyText(publication), stream, publication, 'missed'), { deflate: this.#deflate, isKept: true })
    }
    return publication.recoveryFrame as Frame
  }
}

/** Returns the body as a string. A broker may deliver it as it came from the network, in UTF-8. */
function bodyText ({ body }: Publication): string {
  return typeof body === 'string' ? body : decoder.decode(body)
}

/** Adds the fields that the broker decided, and `replayed`, to a publication's body. */
function withFields (body: string, stream: Stream, publication: Publication, mark: Mark = 'live'): string {
  return addFields(body, publication, stream.startsWith('user:'), mark === 'live' ? undefined : mark)
}

/** Returns the body of a progress with its text from an offset on. */
function withText (body: string, { source, to }: TextSpan, from: number): string {
  return from >= to ? body : insertText(body, source.slice(from, to))
}

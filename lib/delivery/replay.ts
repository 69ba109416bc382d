import type { Publication } from '../streams/broker.js'
import type { Frame, FrameSource } from './frame.js'

/**
 * Length of the pieces in which a long text is sent, in UTF-16 units. A unit takes at most six bytes in JSON, so a piece stays
 * below 64 KiB. Pings and other messages then wait for one piece, not for the whole text.
 */
export const PIECE_UNITS = 10 * 1024

/** Makes the frame of a publication with its text between two offsets. Without `to` it is the last piece. */
export type MakeReplayFrame = (publication: Publication, from: number, to: number | undefined) => Frame

interface Item {
  readonly publication: Publication
  /** How much of its text the client has, and where the text that can be sent begins. */
  readonly held: number
  readonly begin: number
}

/**
 * The messages that one client is sent to catch up with a stream. Frames are made, or taken from the cache, when the socket
 * has room for them, so a client that reads nothing costs no more than this object. Every piece of a text ends at a multiple
 * of `PIECE_UNITS`, wherever it begins, so that clients can share the frames.
 */
export class Replay implements FrameSource {
  /** Number of its messages. */
  readonly messages: number
  /** Approximate size of its messages, in bytes. */
  readonly bytes: number
  /** Called once, when the last frame was made or the replay was stopped. */
  ended: (() => void) | undefined
  readonly #frame: MakeReplayFrame
  #items: Item[] = []
  #at = 0
  /** Where the next piece of the current publication's text begins; undefined before its first one. */
  #from: number | undefined

  constructor (publications: readonly Publication[], claimedUnits: (jobId: string) => number, frame: MakeReplayFrame) {
    this.#frame = frame
    let messages = publications.length
    let bytes = 0
    for (const publication of publications) {
      const { body, text, jobId = '' } = publication
      bytes += body.length
      const claimed = text === undefined ? 0 : claimedUnits(jobId)
      // A client that claims more than there is has another text.
      const held = text !== undefined && claimed <= text.to ? claimed : 0
      const begin = text === undefined ? 0 : Math.max(held, text.source.end - text.source.units)
      this.#items.push({ publication, held, begin })
      if (text === undefined || begin >= text.to) continue
      messages += Math.ceil(text.to / PIECE_UNITS) - 1 - Math.floor(begin / PIECE_UNITS)
      bytes += text.to - begin
    }
    this.messages = messages
    this.bytes = bytes
  }

  next (): Frame | undefined {
    const item = this.#items[this.#at]
    if (item === undefined) return undefined
    const { publication, held, begin } = item
    const from = this.#from ?? held
    const to = endOfPiece(publication, Math.max(from, begin))
    this.#from = to
    if (to === undefined && ++this.#at === this.#items.length) this.stop()
    return this.#frame(publication, from, to)
  }

  /** Discards the remaining messages. */
  stop (): void {
    this.#items = []
    this.ended?.()
    this.ended = undefined
  }
}

/**
 * Returns where a piece ends: at the next multiple of `PIECE_UNITS`, or one unit later if that would split a surrogate pair.
 * Returns undefined for the last piece.
 */
function endOfPiece ({ text }: Publication, begin: number): number | undefined {
  if (text === undefined) return undefined
  const end = (Math.floor(begin / PIECE_UNITS) + 1) * PIECE_UNITS
  if (end >= text.to) return undefined
  return isLowHalf(text.source.slice(end, end + 1).text.charCodeAt(0)) ? end + 1 : end
}

function isLowHalf (unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff
}

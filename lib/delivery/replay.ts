import type { Publication } from '../streams/broker.js'
import type { Frame, FrameSource } from './frame.js'

/**
 * How much of a text goes in one message, in UTF-16 units. In JSON a unit takes at most six bytes, so that a piece of any
 * text is below 64 KiB: pings and other messages wait behind one piece, not behind the whole text.
 */
export const PIECE_UNITS = 10 * 1024

/** Makes the frame of a publication, of its text only what lies between two places. Without `to` it is the last piece. */
export type FramePast = (publication: Publication, from: number, to: number | undefined) => Frame

interface Item {
  readonly publication: Publication
  /** How much of its text the reader holds, and where what the reader lacks begins. */
  readonly held: number
  readonly begin: number
}

/**
 * What one reader is sent of a stream's past. Frames are made, or found where others had them made, when the reader has
 * room for them: a reader that reads nothing costs no more than this object. Every piece of a text ends at a multiple of
 * `PIECE_UNITS`, wherever it begins, so that readers share them.
 */
export class Replay implements FrameSource {
  /** How many messages it consists of. */
  readonly messages: number
  /** About how many bytes those have. */
  readonly bytes: number
  /** Called once nothing is left. */
  ended: (() => void) | undefined
  readonly #frame: FramePast
  #items: Item[] = []
  #at = 0
  /** Where the next piece of the current publication's text begins; undefined before its first one. */
  #from: number | undefined

  constructor (publications: readonly Publication[], heldOf: (jobId: string) => number, frame: FramePast) {
    this.#frame = frame
    let messages = publications.length
    let bytes = 0
    for (const publication of publications) {
      const { body, text, jobId = '' } = publication
      bytes += body.length
      const told = text === undefined ? 0 : heldOf(jobId)
      // A reader that claims more than there is holds another text.
      const held = text !== undefined && told <= text.to ? told : 0
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

  /** Lets go of the rest. */
  stop (): void {
    this.#items = []
    this.ended?.()
    this.ended = undefined
  }
}

/** Where a piece ends, if it is not the last one: at the next multiple of `PIECE_UNITS`, or behind the pair that lies across it. */
function endOfPiece ({ text }: Publication, begin: number): number | undefined {
  if (text === undefined) return undefined
  const end = (Math.floor(begin / PIECE_UNITS) + 1) * PIECE_UNITS
  if (end >= text.to) return undefined
  return isLowHalf(text.source.slice(end, end + 1).text.charCodeAt(0)) ? end + 1 : end
}

function isLowHalf (unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff
}

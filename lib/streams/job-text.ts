/** A stretch of a text, in UTF-16 units as JavaScript counts them. */
export interface TextSlice {
  readonly text: string
  /** Where it begins in the whole text. */
  readonly offset: number
  /** Whether it begins later than was asked for, because what came before is no longer kept. */
  readonly truncated: boolean
}

/** Above so many pieces they are joined: a piece costs more than its few characters. */
const MAX_PIECES = 512
/** What a piece costs beside its characters: a string's head and its place in the list. */
const PIECE_BYTES = 48

/**
 * The running text of a job. It grows at the end, keeps at most its newest `maxUnits`, and never ends in half a surrogate
 * pair: a half that comes is held back until the other one does.
 */
export class JobText {
  readonly #maxUnits: number
  #pieces: string[] = []
  /** Where the first piece begins, and the last one ends. */
  #start = 0
  #end = 0
  #half = ''

  /** `start` is where it begins in the whole text: later than 0 where the beginning is lost. */
  constructor (maxUnits: number, start = 0) {
    this.#maxUnits = maxUnits
    this.#start = this.#end = start
  }

  /** Its length, what is no longer kept included. */
  get end (): number {
    return this.#end
  }

  /** How much of it is kept. */
  get units (): number {
    return this.#end - this.#start
  }

  /** What it costs at most: V8 keeps a unit in two bytes, or in one. */
  get bytes (): number {
    return this.units * 2 + this.#pieces.length * PIECE_BYTES
  }

  /** Adds to the end, and answers what can be passed on now. `last` passes on half a pair too. */
  append (delta: string, last = false): TextSlice {
    let text = this.#half + delta
    this.#half = ''
    if (!last && endsInHalf(text)) {
      this.#half = text.slice(-1)
      text = text.slice(0, -1)
    }
    const offset = this.#end
    if (text !== '') this.#pieces.push(ownCopy(text))
    this.#end += text.length
    this.#trim()
    return { text, offset, truncated: false }
  }

  /** Lets go of what is kept. What comes next still knows its place. */
  discard (): void {
    this.#pieces = []
    this.#start = this.#end
  }

  /** What is kept of it between two places. */
  slice (from: number, to: number = this.#end): TextSlice {
    const begin = Math.max(this.#start, Math.min(from, to))
    return { text: this.#newest(begin, to) ?? this.#between(begin, to), offset: begin, truncated: begin > from }
  }

  /** What is asked for is nearly always the newest piece. */
  #newest (begin: number, to: number): string | undefined {
    const piece = this.#pieces.at(-1)
    return to === this.#end && piece?.length === to - begin ? piece : undefined
  }

  #between (begin: number, to: number): string {
    let at = this.#start
    const parts: string[] = []
    for (const piece of this.#pieces) {
      if (at >= to) break
      if (at + piece.length > begin) parts.push(piece.slice(Math.max(0, begin - at), to - at))
      at += piece.length
    }
    return parts.join('')
  }

  #trim (): void {
    if (this.#pieces.length > MAX_PIECES) this.#pieces = [this.#pieces.join('')]
    if (this.units <= this.#maxUnits) return
    // An eighth more than it must, so that not every append cuts.
    const excess = this.units - Math.ceil(this.#maxUnits * 7 / 8)
    const kept = this.#pieces.join('')
    // The kept part begins with a whole character too.
    const cut = isLowHalf(kept.charCodeAt(excess)) ? excess + 1 : excess
    this.#pieces = [ownCopy(kept.slice(cut))]
    this.#start += cut
  }
}

/** V8 makes no characters of a cut: it keeps the whole string that was cut, however long. Joining parts writes new ones. */
function ownCopy (text: string): string {
  return [text.slice(0, 1), text.slice(1)].join('')
}

function endsInHalf (text: string): boolean {
  const last = text.charCodeAt(text.length - 1)
  return last >= 0xd800 && last <= 0xdbff
}

function isLowHalf (unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff
}

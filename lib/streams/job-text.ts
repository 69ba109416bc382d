import type { TextSlice, TextSource } from './broker.js'

/** Maximum number of pieces; beyond it they are joined, because a piece takes more memory than its few characters. */
const MAX_PIECES = 512
/** Memory of a piece without its characters, in bytes: the string's header and its array slot. */
const PIECE_BYTES = 48

/**
 * The text of a job, as it is generated. It keeps at most the newest `maxUnits`. It never ends in half of a surrogate pair: the
 * first half is held back until the second one arrives.
 */
export class JobText implements TextSource {
  readonly #maxUnits: number
  #pieces: string[] = []
  /** Where the first piece begins and the last one ends. */
  #start = 0
  #end = 0
  #pendingHalf = ''

  /** @param start Offset of the text that follows; above 0 if the beginning of the text was lost. */
  constructor (maxUnits: number, start = 0) {
    this.#maxUnits = maxUnits
    this.#start = this.#end = start
  }

  /** Its length, including the part that is no longer kept. */
  get end (): number {
    return this.#end
  }

  /** Its length, including half of a surrogate pair that is held back. */
  get received (): number {
    return this.#end + this.#pendingHalf.length
  }

  /** Length of the kept part. */
  get units (): number {
    return this.#end - this.#start
  }

  /** Upper estimate of its memory: V8 stores a unit in one or two bytes. */
  get bytes (): number {
    return this.units * 2 + this.#pieces.length * PIECE_BYTES
  }

  /** Appends text, and returns the part that can be published now. With `last`, half of a surrogate pair is published too. */
  append (delta: string, last = false): TextSlice {
    let text = this.#pendingHalf + delta
    this.#pendingHalf = ''
    if (!last && endsInHalf(text)) {
      this.#pendingHalf = text.slice(-1)
      text = text.slice(0, -1)
    }
    const offset = this.#end
    if (text !== '') this.#pieces.push(flatCopy(text))
    this.#end += text.length
    this.#trim()
    return { text, offset, truncated: false }
  }

  /** Discards the kept part, and continues at an offset, because the text before it is lost. */
  skipTo (offset: number): void {
    this.#pendingHalf = ''
    this.#pieces = []
    this.#start = this.#end = offset
  }

  /** Discards the kept part. Offsets of later pieces are not affected. */
  discard (): void {
    this.#pieces = []
    this.#start = this.#end
  }

  /** Returns the kept part between two offsets. */
  slice (from: number, to: number = this.#end): TextSlice {
    const begin = Math.max(this.#start, Math.min(from, to))
    return { text: this.#newest(begin, to) ?? this.#between(begin, to), offset: begin, truncated: begin > from }
  }

  /** Fast path: callers nearly always request the newest piece. */
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
    // Trims an eighth more than necessary, so that not every append has to trim.
    const excess = this.units - Math.ceil(this.#maxUnits * 7 / 8)
    const kept = this.#pieces.join('')
    // The kept part must not begin with half of a surrogate pair.
    const cut = isLowHalf(kept.charCodeAt(excess)) ? excess + 1 : excess
    this.#pieces = [flatCopy(kept.slice(cut))]
    this.#start += cut
  }
}

/** Copies a string. A slice in V8 keeps its whole parent string alive; joining parts writes a new string (row `job-text`). */
function flatCopy (text: string): string {
  return [text.slice(0, 1), text.slice(1)].join('')
}

function endsInHalf (text: string): boolean {
  const last = text.charCodeAt(text.length - 1)
  return last >= 0xd800 && last <= 0xdbff
}

function isLowHalf (unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff
}

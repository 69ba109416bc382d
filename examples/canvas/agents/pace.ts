import { setTimeout as sleep } from 'node:timers/promises'

/** Interval between pieces, in milliseconds. */
const EVERY_MS = 40

/** Characters per second while the length of the text is unknown, and afterwards the limits of the pace. */
const USUAL = 350
const SLOWEST = 120
const QUICKEST = 1500

/** A word with the space before it. Longer ones are split. */
const WORD = /\s*\S{1,24}|\s+$/uy

export interface PaceOptions {
  /** Target duration of the whole text. Very short and very long texts deviate from it. */
  seconds: number
  clock?: Clock
}

/** The clock of the pace, in milliseconds. */
export interface Clock {
  now (): number
  sleep (ms: number): Promise<unknown>
}

const realClock: Clock = { now: () => performance.now(), sleep: (ms) => sleep(ms) }

/** Yields a text in pieces of a few words, at the pace of a language model. Reads the source ahead. */
export async function * paced (source: AsyncIterable<string>, { seconds, clock = realClock }: PaceOptions): AsyncGenerator<string> {
  const startedAt = clock.now()
  const ahead = new ReadAhead(source)
  let at = startedAt
  /** Characters that are due and not yet sent. */
  let due = 1
  for (;;) {
    if (ahead.text === '') {
      if (!await ahead.more()) return
      at = clock.now()
    }
    const piece = words(ahead.text, due)
    due -= piece.length
    if (piece !== '') {
      ahead.text = ahead.text.slice(piece.length)
      yield piece
    }
    await clock.sleep(EVERY_MS)
    const now = clock.now()
    due += rate(ahead, startedAt + seconds * 1000 - now) * (now - at) / 1000
    at = now
  }
}

function rate ({ text, hasEnded }: ReadAhead, leftMs: number): number {
  if (!hasEnded) return USUAL
  return Math.min(QUICKEST, Math.max(SLOWEST, leftMs <= 0 ? QUICKEST : text.length * 1000 / leftMs))
}

/** Returns the words of a text that begin within this number of characters. */
function words (text: string, length: number): string {
  WORD.lastIndex = 0
  let end = 0
  while (end < length && WORD.test(text)) end = WORD.lastIndex
  return text.slice(0, end)
}

/** Reads a source to its end, ahead of its consumer. */
class ReadAhead {
  /** Text that has arrived and was not consumed. */
  text = ''
  hasEnded = false
  #failure: { readonly error: unknown } | undefined
  #wake: () => void = () => undefined

  constructor (source: AsyncIterable<string>) {
    this.#read(source).catch((error: unknown) => { this.#failure = { error } }).finally(() => {
      this.hasEnded = true
      this.#wake()
    })
  }

  /** Resolves with true when there is more text, and with false at the end. Rejects if the source failed. */
  async more (): Promise<boolean> {
    while (this.text === '' && !this.hasEnded) await new Promise<void>((resolve) => { this.#wake = resolve })
    if (this.text === '' && this.#failure !== undefined) throw this.#failure.error
    return this.text !== ''
  }

  async #read (source: AsyncIterable<string>): Promise<void> {
    for await (const text of source) {
      this.text += text
      this.#wake()
    }
  }
}

/** Where a reader is in a stream, as it travels: `<epoch>:<seq>`. */
export interface Since {
  readonly epoch: string
  readonly seq: number
}

const PATTERN = /^([\w.-]{1,64}):(\d{1,15})$/

/** Reads `<epoch>:<seq>`. Undefined for what is none: then the reader gets the present state, which is never wrong. */
export function parseSince (text: unknown): Since | undefined {
  const [, epoch, seq] = (typeof text === 'string' ? PATTERN.exec(text) : null) ?? []
  return epoch === undefined ? undefined : { epoch, seq: Number(seq) }
}

/** What a reader holds of jobs' texts: for each job how many UTF-16 units, from the beginning. */
export type Have = ReadonlyMap<string, number>

/** More jobs than this nobody follows at once. */
const MAX_JOBS = 100

/** Reads `{ jobId: offset }`. What can't be meant is left out: then the text is sent from its beginning. */
export function parseHave (value: unknown): Have {
  if (typeof value !== 'object' || value === null) return new Map()
  const entries = Object.entries(value).slice(0, MAX_JOBS)
  return new Map(entries.filter((entry): entry is [string, number] => Number.isSafeInteger(entry[1]) && entry[1] >= 0))
}

/** The same from a query, where it is JSON. */
export function parseHaveText (text: unknown): Have {
  if (typeof text !== 'string' || text.length > 8192) return new Map()
  try {
    return parseHave(JSON.parse(text))
  } catch {
    return new Map()
  }
}

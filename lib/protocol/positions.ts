/** A client's position in a stream. Sent as `<epoch>:<seq>`. */
export interface Since {
  readonly epoch: string
  readonly seq: number
}

const PATTERN = /^([\w.-]{1,64}):(\d{1,15})$/

/** Parses `<epoch>:<seq>`. Returns undefined for an invalid value. The client then gets the snapshot, which is always right. */
export function parseSince (text: unknown): Since | undefined {
  const [, epoch, seq] = (typeof text === 'string' ? PATTERN.exec(text) : null) ?? []
  return epoch === undefined ? undefined : { epoch, seq: Number(seq) }
}

/** How much of each job's text a client already has, from the beginning, in UTF-16 units. The key is the job id. */
export type Have = ReadonlyMap<string, number>

/** Maximum number of entries that are read. No client follows more jobs at once. */
const MAX_JOBS = 100

/** Parses `{ jobId: offset }`. Ignores invalid entries; these texts are then sent from their beginning. */
export function parseHave (value: unknown): Have {
  if (typeof value !== 'object' || value === null) return new Map()
  const entries = Object.entries(value).slice(0, MAX_JOBS)
  return new Map(entries.filter((entry): entry is [string, number] => Number.isSafeInteger(entry[1]) && entry[1] >= 0))
}

/** Parses the same from a query parameter, which contains JSON. */
export function parseHaveText (text: unknown): Have {
  if (typeof text !== 'string' || text.length > 8192) return new Map()
  try {
    return parseHave(JSON.parse(text))
  } catch {
    return new Map()
  }
}

import { Random } from './random.js'

// Facts that the server process and the readers share without communicating: the users' rights, and the texts of jobs.

export const USERS = ['ada', 'ben', 'cleo'] as const

/**
 * How the jobs of a session are reported. `plain`: the documented calls without a `jobId`, one job at a time. `crowd`: the same,
 * several at once and without text, because such calls refer to the newest job. `handles`: `startAI`, `trackAI` and calls with a
 * `jobId`, several at once.
 */
export type Manner = 'plain' | 'crowd' | 'handles'

/** The session ids, in the form `<owner>:<manner>:<number>`. Every user may read the sessions of `all`. */
export const SESSIONS: readonly string[] = [
  'all:plain:0', 'all:plain:1', 'all:crowd:0', 'all:handles:0', 'all:handles:1',
  ...USERS.flatMap((user) => [`${user}:plain:0`, `${user}:handles:0`])
]

export function mannerOf (sessionId: string): Manner {
  return sessionId.split(':')[1] as Manner
}

/** Returns whether the app lets a user read a session, if nothing was revoked. */
export function mayRead (userId: string, sessionId: string): boolean {
  const [owner] = sessionId.split(':')
  return owner === 'all' || owner === userId || owner === userId.split('-')[0]
}

/** The definition of a job's text: `length` UTF-16 units that are derived from `key`. */
export interface Script {
  readonly key: number
  readonly length: number
}

const WORDS = ['Once upon a time ', 'there was ', 'ä€ ', '😀', '"quoted" \\ ', '\n', '\u2028', '</script>', '👩‍👩‍👧 ', '漢字', '\u0000', 'x'.repeat(40)]

/** Returns the whole text of a job. It never ends in half a surrogate pair. */
export function textOf ({ key, length }: Script): string {
  const random = new Random(key)
  let text = ''
  while (text.length < length) text += random.pick(WORDS)
  text = text.slice(0, length)
  return /[\ud800-\udbff]$/.test(text) ? `${text.slice(0, -1)}.` : text
}

/** Returns the text in pieces, as a model streams it. They may be cut anywhere, even inside a surrogate pair. */
export function piecesOf (script: Script, count: number): string[] {
  const text = textOf(script)
  const random = new Random(script.key + 1)
  const cuts = Array.from({ length: count - 1 }, () => random.below(text.length + 1)).sort((a, b) => a - b)
  return [...cuts, text.length].map((end, i) => text.slice(i === 0 ? 0 : cuts[i - 1], end))
}

/** Returns a job id that contains the job's script, for calls in which the app chooses the id. */
export function jobIdOf ({ key, length }: Script): string {
  return `job-${key}-${length}`
}

/** Returns a job's script, from its id or from the fields of its messages. Undefined for a job without a script. */
export function scriptOf (jobId: string | undefined, fields: unknown): Script | undefined {
  const [, key, length] = /^job-(\d+)-(\d+)$/.exec(jobId ?? '') ?? []
  if (key !== undefined) return { key: Number(key), length: Number(length) }
  const { key: told, length: units } = (fields ?? {}) as Partial<Script>
  return typeof told === 'number' && typeof units === 'number' ? { key: told, length: units } : undefined
}

/** Size of the number range of a server process. All message numbers of a process are above those of the previous process. */
export const NUMBERS_PER_PROCESS = 1_000_000_000

import type { Joined, Publication, TextSlice } from '../streams/broker.js'

/** A delivered or replayed publication. Everything was read at once, because a text changes and is trimmed later. */
export interface Received {
  /** The body as text, even if the broker passed bytes. */
  readonly body: string
  readonly durable: boolean
  readonly revision: number
  readonly seq: number | undefined
  readonly jobId: string | undefined
  readonly supersedes: boolean
  /** The piece of text that it adds. */
  readonly piece: TextSlice | undefined
  /** All of the text that its source has. */
  readonly whole: TextSlice | undefined
}

export function received (publication: Publication): Received {
  const { durable, revision, seq, jobId, supersedes = false, text } = publication
  return { body: bodyOf(publication), durable, revision, seq, jobId, supersedes, piece: pieceOf(publication), whole: text?.source.slice(0) }
}

/** Returns a body as text. */
export function bodyOf ({ body }: Pick<Publication, 'body'>): string {
  return typeof body === 'string' ? body : Buffer.from(body).toString()
}

/** Returns the bodies of a replay. */
export function bodies ({ replay }: Pick<Joined, 'replay'>): string[] {
  return replay.map(bodyOf)
}

/** Returns the numbers and bodies of publications. */
export function numbered (publications: ReadonlyArray<Pick<Publication, 'seq' | 'body'>>): Array<[seq: number | undefined, body: string]> {
  return publications.map((publication) => [publication.seq, bodyOf(publication)])
}

/** Returns the piece of text in a publication, and its offset. */
export function pieceOf ({ text }: Publication): TextSlice | undefined {
  return text?.source.slice(text.from, text.to)
}

// The published messages, the same for every contender, and how the load generator reads them.

/** `at` has a fixed number of digits, so that the floor can patch it into prepared bytes. */
const AT_BASE = 1e15
const AT_DIGITS = 16
const N_BASE = 1e9
const N_DIGITS = 10

const AT_MARK = Buffer.from('"at":')
const N_MARK = Buffer.from('"n":')

/** Returns the time in microseconds, on the clock that all processes of a machine share. */
export function stamp (): number {
  return AT_BASE + Math.floor(Number(process.hrtime.bigint()) / 1000)
}

/** Part of a progress or of a message that every contender sends. */
export interface Body extends Record<string, unknown> {
  chunksReceived: number
  contentLength: number
  /** Time of the publish: see `stamp`. */
  at: number
  /** Sequence number of the publish. */
  n: number
  text: string
}

/** Text like a model's: neither random nor repetitive, because that would affect deflate. */
const SOURCE = `Create a React component that renders the canvas, subscribes to the session, and shows the progress of \
every job as it arrives. export function Canvas ({ sessionId }: CanvasProps) { const { status, progress, result } = \
useAIWebSocket(sessionId); if (status === 'error') return <Failure retry={() => restart(sessionId)} />; const percent = \
Math.round(100 * progress.contentLength / expectedLength); return <section aria-busy={status === 'running'}><h2>{title}\
</h2><meter min={0} max={100} value={percent} /> {result && <Preview html={result.html} onClose={dismiss} />}</section> } \
The component keeps its own state small: whatever the server knows is asked of the server, and what the reader typed stays \
with the reader until the request is answered. Edge cases: an empty session, a job that ends before the page has loaded, \
two tabs with one session, a laptop that wakes up after a night and finds its token expired. `

/** Returns a text of this length. `turn` rotates it, so that two messages differ in more than their number. */
export function text (length: number, turn: number): string {
  let out = SOURCE.slice(turn % SOURCE.length)
  while (out.length < length) out += SOURCE
  return out.slice(0, length)
}

export function body (n: number, content: string): Body {
  return { chunksReceived: n, contentLength: content.length, at: stamp(), n: N_BASE + n, text: content }
}

/** Returns the number after a mark in a message, or NaN. */
function digits (bytes: Buffer, mark: Buffer, count: number): number {
  const at = bytes.indexOf(mark)
  return at < 0 ? NaN : Number(bytes.toString('latin1', at + mark.length, at + mark.length + count))
}

export function readAt (bytes: Buffer): number {
  return digits(bytes, AT_MARK, AT_DIGITS)
}

export function readN (bytes: Buffer): number {
  return digits(bytes, N_MARK, N_DIGITS) - N_BASE
}

/** A message's bytes with placeholders for `at` and `n`. */
export class Template {
  readonly bytes: Buffer
  readonly #at: number
  readonly #n: number

  constructor (bytes: Buffer) {
    this.bytes = bytes
    this.#at = bytes.indexOf(AT_MARK) + AT_MARK.length
    this.#n = bytes.indexOf(N_MARK) + N_MARK.length
  }

  patch ({ at, n }: Body): void {
    this.bytes.write(String(at), this.#at, 'latin1')
    this.bytes.write(String(n), this.#n, 'latin1')
  }
}

/** A token of streamed text is a space and the time at which it was created. */
export const TOKEN_UNITS = 1 + AT_DIGITS

/** Returns the time at which the first token in a piece of text was created. */
export function stampOf (stretch: string): number {
  return Number(stretch.slice(1, TOKEN_UNITS))
}

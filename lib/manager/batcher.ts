import type { Clock, Timer } from '../util/clock.js'
import { errors } from '../util/errors.js'
import { checkBody, serialize } from '../util/app-values.js'

export interface BatcherOptions {
  /**
   * How long a message waits for company at most, in milliseconds. A batch is sent earlier once it holds 1,000 messages or
   * 256 Ki UTF-16 units of JSON. `Infinity`: only then, and by `flush` and `close`.
   * @default 100
   */
  intervalMs?: number
}

/** A batch of this many messages, or of this many UTF-16 units of JSON, does not wait for the interval. */
const MAX_MESSAGES = 1_000
const MAX_UNITS = 256 * 1024

/** Collects a session's frequent messages, and sends what there is as one `batch_update` each interval. */
export interface Batcher {
  /**
   * Adds a message. It is written down at once: later changes to the object are not sent.
   *
   * @throws `AICW_ERR_NOT_SERIALIZABLE`, `AICW_ERR_INVALID_MESSAGE` for what is no object, `AICW_ERR_BATCHER_CLOSED`.
   */
  push (message: object): void
  /** Sends what there is now, without waiting for the interval. */
  flush (): void
  /** Sends what there is, and takes nothing more. */
  close (): void
}

/** `send` is given the messages' JSON texts, never an empty list. */
export function createBatcher (options: {
  clock: Clock, intervalMs: number, send: (messages: readonly string[]) => void, onClose: () => void
}): Batcher {
  const { clock, intervalMs, send, onClose } = options
  let waiting: string[] = []
  let units = 0
  let timer: Timer | undefined
  let closed = false

  function flush (): void {
    timer?.cancel()
    timer = undefined
    if (waiting.length === 0) return
    const messages = waiting
    waiting = []
    units = 0
    send(messages)
  }

  return {
    push (message) {
      if (closed) throw new errors.BatcherClosed()
      const text = serialize(checkBody('message', message))
      waiting.push(text)
      units += text.length
      if (waiting.length >= MAX_MESSAGES || units >= MAX_UNITS) flush()
      else if (intervalMs !== Infinity) timer ??= clock.after(intervalMs, flush)
    },
    flush,
    close () {
      flush()
      closed = true
      onClose()
    }
  }
}

import type { Clock, Timer } from '../util/clock.js'
import { errors } from '../util/errors.js'
import { checkBody, serialize } from '../util/app-values.js'

export interface BatcherOptions {
  /**
   * How long a message waits at most, in milliseconds. A batch is sent earlier once it holds 1,000 messages or 256 Ki UTF-16
   * units of JSON. `Infinity` disables the timer: a batch is then sent when it is full, and by `flush` and `close`.
   * @default 100
   */
  intervalMs?: number
}

/** A batch of this size is sent at once: messages, or UTF-16 units of JSON. */
const MAX_MESSAGES = 1_000
const MAX_UNITS = 256 * 1024

/** Collects a session's frequent messages and sends them as one `batch_update` per interval. */
export interface Batcher {
  /**
   * Adds a message. It is serialized at once, so later changes to the object are not sent.
   *
   * @throws `AICW_ERR_NOT_SERIALIZABLE` if JSON can't represent it, `AICW_ERR_INVALID_MESSAGE` if it is not an object,
   * `AICW_ERR_BATCHER_CLOSED` after `close`.
   */
  push (message: object): void
  /** Sends the waiting messages now. */
  flush (): void
  /** Sends the waiting messages. After it, `push` throws. */
  close (): void
}

/** Creates a batcher. `send` gets the messages' JSON texts, and never an empty list. */
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

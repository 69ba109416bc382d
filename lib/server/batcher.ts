import type { Clock, Timer } from '../clock.js'
import { errors } from '../errors.js'
import { checkBody, serialize } from './messages.js'

export interface BatcherOptions {
  /**
   * How long a message waits for company at most, in milliseconds.
   * @default 100
   */
  intervalMs?: number
}

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
  let timer: Timer | undefined
  let closed = false

  function flush (): void {
    timer?.cancel()
    timer = undefined
    if (waiting.length === 0) return
    const messages = waiting
    waiting = []
    send(messages)
  }

  return {
    push (message) {
      if (closed) throw new errors.BatcherClosed()
      waiting.push(serialize(checkBody('message', message)))
      timer ??= clock.after(intervalMs, flush)
    },
    flush,
    close () {
      flush()
      closed = true
      onClose()
    }
  }
}

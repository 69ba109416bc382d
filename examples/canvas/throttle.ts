export interface Throttle<T> {
  report (value: T): void
  /** Sends what is still held back. Call it at the end, whatever the end is: until then a timer may be running. */
  flush (): void
}

/** Sends the newest value, at most one each interval: the first at once, and none is left unsent when they stop coming. */
export function throttle<T> (send: (value: T) => void, intervalMs: number): Throttle<T> {
  let timer: NodeJS.Timeout | undefined
  let held: { value: T } | undefined

  function sendHeld (): void {
    const due = held
    held = undefined
    if (due !== undefined) send(due.value)
  }

  function onInterval (): void {
    timer = held === undefined ? undefined : setTimeout(onInterval, intervalMs)
    sendHeld()
  }

  return {
    report (value) {
      held = { value }
      if (timer === undefined) onInterval()
    },
    flush () {
      clearTimeout(timer)
      timer = undefined
      sendHeld()
    }
  }
}

/** Yields the same pieces. An abort ends them immediately with the signal's reason, even if their source ignores it. */
export async function * abortable<T> (source: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const iterator = source[Symbol.asyncIterator]()
  try {
    for (;;) {
      const step = await unlessAborted(() => iterator.next(), signal)
      if (step.done === true) return
      yield step.value
    }
  } finally {
    // Not awaited, because a source that hangs would never resolve. Its outcome no longer matters.
    iterator.return?.().catch(() => undefined)
  }
}

async function unlessAborted<T> (work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  const settled = new AbortController()
  const aborted = new Promise<never>((_resolve, reject) => {
    signal.addEventListener('abort', () => { reject(signal.reason as Error) }, { signal: settled.signal })
  })
  try {
    return await Promise.race([work(), aborted])
  } finally {
    // One signal serves many pieces, so its listeners must be removed.
    settled.abort()
  }
}

/** The same pieces, but an abort ends them at once with the signal's reason, even when their source does not listen. */
export async function * abortable<T> (source: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const iterator = source[Symbol.asyncIterator]()
  try {
    for (;;) {
      const step = await unlessAborted(() => iterator.next(), signal)
      if (step.done === true) return
      yield step.value
    }
  } finally {
    // Not awaited, because a source that hangs would never answer; what it has to say now interests nobody
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
    // One signal serves many pieces, and keeps its listeners
    settled.abort()
  }
}

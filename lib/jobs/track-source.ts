import { tryThen, requireSync, andThen, type MaybePromise } from '../util/maybe-promise.js'
import { fieldOf } from '../util/safe-error.js'

/**
 * What of a `ReadableStream` is used: its async iterator is missing in older browsers and polyfills. The type of the
 * chunks is taken from that iterator nevertheless: from the several readers that there are it can't be told.
 */
interface ReadableStreamLike<T> {
  getReader (): {
    read (): PromiseLike<{ done: boolean, value?: NoInfer<T> | undefined }>
    cancel (reason?: unknown): PromiseLike<unknown>
    releaseLock (): void
  }
}

/**
 * A stream of chunks: an async iterable (the SDKs' streams, Node's streams, an async generator), a `ReadableStream`, an
 * iterable, or what the AI SDK's `streamText` answers, of which the `fullStream` is read.
 */
export type AISource<T> =
  | AsyncIterable<T>
  | Iterable<T>
  | ReadableStreamLike<T>
  | { readonly fullStream: AsyncIterable<T> | ReadableStreamLike<T> }

/**
 * What `trackAI` takes: a stream, a promise of one, or a function of the job's signal that returns either. The signal aborts
 * when the job ends before its stream does: a cancel, an abort, or a reader that leaves. Pass it to the model's SDK, so that
 * the model stops too.
 */
export type TrackableSource<T> =
  | AISource<T>
  | PromiseLike<AISource<T>>
  | ((signal: AbortSignal) => AISource<T> | PromiseLike<AISource<T>>)

interface Chunks<T> {
  next (): MaybePromise<IteratorResult<T, unknown>>
  close (reason: unknown): unknown
}

/** Everything that a source may have. */
interface Traits<T> extends Partial<AsyncIterable<T>>, Partial<Iterable<T>>, Partial<ReadableStreamLike<T>> {
  readonly fullStream?: AISource<T>
  readonly abort?: unknown
  readonly controller?: Partial<AbortController> | undefined
  readonly cancelled?: unknown
  readonly errored?: unknown
  readonly aborted?: unknown
  readonly done?: unknown
  readonly pipe?: unknown
  readonly destroy?: unknown
}

/** A source that is being read. */
export class TrackSource<T> {
  readonly #source: Traits<T>
  readonly #chunks: Chunks<T>
  readonly #onFault: (error: unknown) => void
  #isOver = false

  /**
   * `onFault` is called with what the source's own `abort()`, or a getter, throws while the source is closed.
   *
   * @throws TypeError for what is no stream, and whatever the source itself throws when it is opened.
   */
  constructor (source: AISource<T>, onFault: (error: unknown) => void = ignore) {
    this.#onFault = onFault
    this.#source = traitsOf(source)
    this.#chunks = chunksOf(this.#source) ?? chunksOf(traitsOf(this.#source.fullStream)) ?? noChunks(source)
  }

  /** Whether its end, or its error, was read, or it was closed. */
  get isOver (): boolean {
    return this.#isOver
  }

  /**
   * Its next chunk. Throws or rejects with what the source does, and where an SDK's stream ends as if that were all: after
   * its own `controller` was aborted (OpenAI, Anthropic), where it says that it was `cancelled` (OpenAI's agents), and after
   * an error that came while nobody waited for a chunk.
   */
  read (): MaybePromise<IteratorResult<T, unknown>> {
    return tryThen(() => this.#chunks.next(), (result) => {
      this.#isOver = result.done === true
      return this.#isOver ? this.#end(result) : result
    }, (error) => {
      this.#isOver = true
      throw error
    })
  }

  /**
   * Closes it before its end, while it is being read too. What it makes of that is nobody's matter any more: it is not
   * waited for, and its errors end here.
   */
  close (reason: unknown): void {
    if (this.#isOver) return
    this.#isOver = true
    const [controller, abort, pipe, destroy] = [this.#trait('controller'), this.#trait('abort'), this.#trait('pipe'), this.#trait('destroy')]
    // An iterator in the middle of a read returns only after it: these end the read.
    this.#tryThen(() => { if (typeof controller?.abort === 'function') controller.abort(reason) })
    if (typeof abort === 'function') this.#tryThen(() => abort.call(this.#source) as unknown)
    quietly(() => this.#chunks.close(reason))
    if (typeof pipe === 'function' && typeof destroy === 'function') quietly(() => destroy.call(this.#source) as unknown)
  }

  /** The end of a stream, unless it is one that hides why it ended. */
  #end (result: IteratorResult<T, unknown>): MaybePromise<IteratorResult<T, unknown>> {
    const done = this.#trait('errored') === true && this.#trait('aborted') !== true ? this.#trait('done') : undefined
    // Rejects with the error, in the SDKs' `MessageStream` and `ChatCompletionStream`.
    if (typeof done === 'function') return andThen(done.call(this.#source) as MaybePromise<unknown>, () => result)
    throwIfAborted(this.#trait('controller'), this.#trait('cancelled'))
    return result
  }

  /** A property of the source's own. A getter that throws counts as an absent property. */
  #trait<K extends 'controller' | 'cancelled' | 'abort' | 'pipe' | 'destroy' | 'errored' | 'aborted' | 'done'> (name: K): Traits<T>[K] | undefined {
    try {
      return this.#source[name]
    } catch (error) {
      this.#onFault(error)
      return undefined
    }
  }

  #tryThen (work: () => unknown): void {
    void tryThen(work, ignore, this.#onFault)
  }
}

/** The cause tells a timeout from a cancel. */
function throwIfAborted (controller: unknown, cancelled: unknown): void {
  const signal = fieldOf(controller, 'signal')
  if (fieldOf(signal, 'aborted') !== true && cancelled !== true) return
  throw Object.assign(new DOMException('The stream was aborted', 'AbortError'), { cause: fieldOf(signal, 'reason') })
}

function traitsOf<T> (source: unknown): Traits<T> {
  return Object(source ?? {}) as Traits<T>
}

function chunksOf<T> (source: Traits<T>): Chunks<T> | undefined {
  // Asked first: the iterator of a `ReadableStream` can't be closed while it is being read, its reader can.
  if (typeof source.getReader === 'function') return readChunks(requireSync('getReader', source.getReader()))
  if (typeof source[Symbol.asyncIterator] === 'function') {
    const iterator = requireSync('[Symbol.asyncIterator]', (source as AsyncIterable<T>)[Symbol.asyncIterator]())
    return { next: () => iterator.next(), close: () => iterator.return?.() }
  }
  if (typeof source[Symbol.iterator] === 'function') {
    const iterator = requireSync('[Symbol.iterator]', (source as Iterable<MaybePromise<T>>)[Symbol.iterator]())
    return { next: () => settled(requireSync('next of an iterator', iterator.next())), close: () => iterator.return?.() }
  }
  return undefined
}

function readChunks<T> (reader: ReturnType<ReadableStreamLike<T>['getReader']>): Chunks<T> {
  const release = (): void => { quietly(() => { reader.releaseLock() }) }
  return {
    next: () => reader.read().then((result) => {
      if (result.done) release()
      return result as IteratorResult<T, unknown>
    }, (error: unknown) => {
      release()
      throw error
    }),
    close: (reason) => {
      const cancelled = reader.cancel(reason)
      release()
      return cancelled
    }
  }
}

/** A promise among the chunks of an iterable is waited for, as `for await` does. */
function settled<T> (result: IteratorResult<MaybePromise<T>, unknown>): MaybePromise<IteratorResult<T, unknown>> {
  return result.done === true ? result : andThen(result.value, (value) => ({ done: false, value }))
}

function noChunks (source: unknown): never {
  throw new TypeError('the job needs a stream of chunks (an async iterable, a ReadableStream, an iterable, a promise of one, or a function that returns one), ' +
    `not ${source === null ? 'null' : typeof source}: with the OpenAI and Anthropic SDKs ask with stream: true, of a fetch ` +
    'response give the body')
}

const ignore = (): void => undefined

function quietly (work: () => unknown): void {
  void tryThen(work, ignore, ignore)
}

import { tryThen, requireSync, andThen, type MaybePromise } from '../util/maybe-promise.js'
import { fieldOf } from '../util/safe-error.js'

/**
 * The parts of a `ReadableStream` that are used. Its async iterator is not, because older browsers and polyfills lack it. Only
 * the type of the chunks is inferred from that iterator, because it can't be inferred from the overloads of `getReader`.
 */
interface ReadableStreamLike<T> {
  getReader (): {
    read (): PromiseLike<{ done: boolean, value?: NoInfer<T> | undefined }>
    cancel (reason?: unknown): PromiseLike<unknown>
    releaseLock (): void
  }
}

/**
 * Stream of chunks: an async iterable (the SDKs' streams, Node's streams, an async generator), a `ReadableStream`, an iterable,
 * or the result of the AI SDK's `streamText`, whose `fullStream` is read.
 */
export type AISource<T> =
  | AsyncIterable<T>
  | Iterable<T>
  | ReadableStreamLike<T>
  | { readonly fullStream: AsyncIterable<T> | ReadableStreamLike<T> }

/**
 * Source that `trackAI` and `runAI` accept: a stream, a promise of one, or a function that gets the job's signal and returns
 * either. The signal aborts if the job ends before its stream: after a cancel, an abort, or when the reader leaves the loop.
 * Pass it to the model's SDK, so that the model stops too.
 */
export type TrackableSource<T> =
  | AISource<T>
  | PromiseLike<AISource<T>>
  | ((signal: AbortSignal) => AISource<T> | PromiseLike<AISource<T>>)

interface Chunks<T> {
  next (): MaybePromise<IteratorResult<T, unknown>>
  close (reason: unknown): unknown
}

/** Properties that a source may have. */
interface SourceProperties<T> extends Partial<AsyncIterable<T>>, Partial<Iterable<T>>, Partial<ReadableStreamLike<T>> {
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

/** Reads the chunks of a source, and closes it. */
export class TrackSource<T> {
  readonly #source: SourceProperties<T>
  readonly #chunks: Chunks<T>
  readonly #onError: (error: unknown) => void
  #isOver = false

  /**
   * `onError` is called with errors of the source's own `abort()` or of its getters while the source is closed.
   *
   * @throws TypeError for a value that is not a stream, and any error of the source when it is opened.
   */
  constructor (source: AISource<T>, onError: (error: unknown) => void = ignore) {
    this.#onError = onError
    this.#source = propertiesOf(source)
    this.#chunks = chunksOf(this.#source) ?? chunksOf(propertiesOf(this.#source.fullStream)) ?? throwNoStream(source)
  }

  /** Whether its end or its error was read, or it was closed. */
  get isOver (): boolean {
    return this.#isOver
  }

  /**
   * Returns the next chunk. Throws or rejects with the error of the source. Also does so if an SDK's stream ends without an
   * error although it is incomplete: after an abort of its own `controller` (OpenAI, Anthropic), if it was `cancelled`
   * (OpenAI's agents), and after an error between two reads.
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
   * Closes the source before its end, even while it is being read. Does not wait for the source and ignores its errors, except
   * those passed to `onError`.
   */
  close (reason: unknown): void {
    if (this.#isOver) return
    this.#isOver = true
    const [controller, abort, pipe, destroy] = [this.#property('controller'), this.#property('abort'), this.#property('pipe'), this.#property('destroy')]
    // An iterator's `return` waits for a pending read. These calls end that read.
    this.#attempt(() => { if (typeof controller?.abort === 'function') controller.abort(reason) })
    if (typeof abort === 'function') this.#attempt(() => abort.call(this.#source) as unknown)
    quietly(() => this.#chunks.close(reason))
    if (typeof pipe === 'function' && typeof destroy === 'function') quietly(() => destroy.call(this.#source) as unknown)
  }

  /** Returns the end of a stream. Throws or rejects instead if the stream hides an error or an abort. */
  #end (result: IteratorResult<T, unknown>): MaybePromise<IteratorResult<T, unknown>> {
    const done = this.#property('errored') === true && this.#property('aborted') !== true ? this.#property('done') : undefined
    // In the SDKs' `MessageStream` and `ChatCompletionStream`, `done()` rejects with the error.
    if (typeof done === 'function') return andThen(done.call(this.#source) as MaybePromise<unknown>, () => result)
    throwIfAborted(this.#property('controller'), this.#property('cancelled'))
    return result
  }

  /** Returns a property of the source. A getter that throws counts as an absent property. */
  #property<K extends 'controller' | 'cancelled' | 'abort' | 'pipe' | 'destroy' | 'errored' | 'aborted' | 'done'> (name: K): SourceProperties<T>[K] | undefined {
    try {
      return this.#source[name]
    } catch (error) {
      this.#onError(error)
      return undefined
    }
  }

  #attempt (work: () => unknown): void {
    void tryThen(work, ignore, this.#onError)
  }
}

/** Throws an `AbortError` if the stream was aborted. Its cause distinguishes a timeout from a cancel. */
function throwIfAborted (controller: unknown, cancelled: unknown): void {
  const signal = fieldOf(controller, 'signal')
  if (fieldOf(signal, 'aborted') !== true && cancelled !== true) return
  throw Object.assign(new DOMException('The stream was aborted', 'AbortError'), { cause: fieldOf(signal, 'reason') })
}

function propertiesOf<T> (source: unknown): SourceProperties<T> {
  return Object(source ?? {}) as SourceProperties<T>
}

function chunksOf<T> (source: SourceProperties<T>): Chunks<T> | undefined {
  // Checked first: the reader of a `ReadableStream` can be closed during a read, its iterator can't.
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

/** Awaits a promise among the chunks of an iterable, as `for await` does. */
function settled<T> (result: IteratorResult<MaybePromise<T>, unknown>): MaybePromise<IteratorResult<T, unknown>> {
  return result.done === true ? result : andThen(result.value, (value) => ({ done: false, value }))
}

function throwNoStream (source: unknown): never {
  throw new TypeError('the job needs a stream of chunks (an async iterable, a ReadableStream, an iterable, a promise of one, or a function that returns one), ' +
    `not ${source === null ? 'null' : typeof source}: for the OpenAI and Anthropic SDKs, set stream: true; for a fetch ` +
    'response, pass its body')
}

const ignore = (): void => undefined

function quietly (work: () => unknown): void {
  void tryThen(work, ignore, ignore)
}

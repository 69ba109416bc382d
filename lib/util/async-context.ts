import { AsyncResource } from 'node:async_hooks'

/**
 * The server never runs a hook, a logger or a broker of the app in another request's async context (`AsyncLocalStorage`).
 * A callback that is stored runs in the context of its caller, so each stored callback is given one of two:
 *
 * - its own, by `bound` or `ownContext`, if it continues one request or one job
 * - none, by `detached` or `outsideRequests`, if it is the server's own: a shared timer, a flush, an event of a socket
 *
 * A timer keeps the store of the context in which it was created, so shared timers are created outside of every request.
 *
 * `AsyncResource.bind` is not used: it takes 20 µs, because it defines properties on the function, and this takes 0.3 µs.
 */
const outside = new AsyncResource('ai-canvas-ws')

/** Runs something in no request's context: in the one in which this module was loaded. */
export function outsideRequests<A extends unknown[], R> (work: (...args: A) => R, ...args: A): R {
  return outside.runInAsyncScope(work, undefined, ...args)
}

/** Returns a callback that runs in no request's context. */
export function detached<A extends unknown[]> (callback: (...args: A) => void): (...args: A) => void {
  return (...args) => { outside.runInAsyncScope(callback, undefined, ...args) }
}

/** Returns a function that runs others in the present context. */
export function ownContext (): (work: () => void) => void {
  const own = new AsyncResource('ai-canvas-ws')
  return (work) => { own.runInAsyncScope(work) }
}

/** Returns a callback that runs in the present context. */
export function bound (callback: () => void): () => void {
  const inOwnContext = ownContext()
  return () => { inOwnContext(callback) }
}

import { AsyncResource } from 'node:async_hooks'

/**
 * The server never runs an app's hook, logger or broker in the async context (`AsyncLocalStorage`) of another request. A
 * stored callback runs in the context of whichever code calls it, so each one is bound explicitly:
 *
 * - to its own context, with `bound` or `ownContext`, if it continues one request or one job
 * - to no request, with `detached` or `outsideRequests`, if it belongs to the server: a shared timer, a flush, a socket event
 *
 * A timer keeps the store of the context in which it was created, so shared timers are created outside of all requests.
 *
 * `AsyncResource.bind` is not used, because it defines properties on the function, which takes long (benchmark row `bound`).
 */
const outside = new AsyncResource('ai-canvas-ws')

/** Runs a function outside of all requests: in the context in which this module was loaded. */
export function outsideRequests<A extends unknown[], R> (work: (...args: A) => R, ...args: A): R {
  return outside.runInAsyncScope(work, undefined, ...args)
}

/** Returns a callback that runs outside of all requests. */
export function detached<A extends unknown[]> (callback: (...args: A) => void): (...args: A) => void {
  return (...args) => { outside.runInAsyncScope(callback, undefined, ...args) }
}

/** Returns a function that runs other functions in the current context. */
export function ownContext (): (work: () => void) => void {
  const own = new AsyncResource('ai-canvas-ws')
  return (work) => { own.runInAsyncScope(work) }
}

/** Returns a callback that runs in the current context. */
export function bound (callback: () => void): () => void {
  const inOwnContext = ownContext()
  return () => { inOwnContext(callback) }
}

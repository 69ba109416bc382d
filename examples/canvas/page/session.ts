/**
 * Returns the session id in the page's URL. If there is none, adds a new one, so that a reload or a copied URL has the same
 * session.
 */
export function sessionOf (location: Location, history: History): string {
  const url = new URL(location.href)
  const named = url.searchParams.get('sessionId')
  if (named !== null && named !== '') return named
  const sessionId = `canvas_${randomName()}`
  url.searchParams.set('sessionId', sessionId)
  history.replaceState(null, '', url)
  return sessionId
}

/** Returns a random name. Does not use `crypto.randomUUID`, which pages have only over https or on localhost. */
export function randomName (): string {
  return [...crypto.getRandomValues(new Uint8Array(5))].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}

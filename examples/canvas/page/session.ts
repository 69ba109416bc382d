/** The session that the page's address names. Without one it names a new one, so that a reload and a copy follow the same. */
export function sessionOf (location: Location, history: History): string {
  const url = new URL(location.href)
  const named = url.searchParams.get('sessionId')
  if (named !== null && named !== '') return named
  const sessionId = `canvas_${randomName()}`
  url.searchParams.set('sessionId', sessionId)
  history.replaceState(null, '', url)
  return sessionId
}

/** Not `crypto.randomUUID`, which a page has only over https or from its own machine. */
export function randomName (): string {
  return [...crypto.getRandomValues(new Uint8Array(5))].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}

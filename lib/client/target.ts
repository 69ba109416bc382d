/** What the query says. What is undefined is left out. */
export interface Query {
  readonly userId: string | undefined
  readonly sessionId: string | undefined
  readonly since: string | undefined
  readonly have: Record<string, number> | undefined
  readonly userSince: string | undefined
  readonly attempt: number
}

/** Some proxies take no longer line. What is left out is sent again, which is never wrong. */
const MAX_HAVE_LENGTH = 2000

/** What can be a session's id: the protocol's `isId`, written again so that the bundle holds nothing of the protocol. */
export const ID = /^[^\p{Cc}\p{Cs}]{1,256}$/u

const ABSOLUTE = /^\w+:/

/** Whether the option is an address by itself, or one on the page's host. */
export function isReachable (option: string | undefined, pageUrl: string | undefined): boolean {
  return pageUrl !== undefined || (option !== undefined && ABSOLUTE.test(option))
}

/**
 * The address of one attempt, without a fragment, which the WebSocket standard ignores. Throws where the option makes none.
 * It is put together by hand, because React Native's `URL` has only getters and no `searchParams`.
 */
export function targetUrl (option = '/ws', pageUrl: string | undefined, { have, attempt, ...query }: Query): string {
  const address = ABSOLUTE.test(option) ? option : new URL(option, pageUrl).href
  const [path = '', given = ''] = address.replace(/^http/i, 'ws').replace(/#.*/, '').split(/\?(.*)/)
  const held = have && JSON.stringify(have)
  const fields: Record<string, string | undefined> = {
    ...query,
    have: held && held.length <= MAX_HAVE_LENGTH ? held : undefined,
    attempt: attempt > 0 ? String(attempt) : undefined
  }
  const pairs = given.split('&').filter((pair) => pair && fields[pair.replace(/=.*/, '')] === undefined)
  for (const [name, value] of Object.entries(fields)) if (value !== undefined) pairs.push(`${name}=${encoded(value)}`)
  return pairs.length > 0 ? `${path}?${pairs.join('&')}` : path
}

/** A text without the password, the query and the fragment of any URL in it: these may be secret. */
export function redacted (text: string): string {
  return text.replace(/\/\/[^/?#\s]*@/g, '//').replace(/[?#][^\s'"]*/g, '')
}

/** A text in UTF-8, with percent signs. */
export function encoded (text: string): string {
  // Half of a surrogate pair has no encoding: `encodeURIComponent` would throw.
  return encodeURIComponent(text.replace(/[\ud800-\udfff]/gu, '\ufffd'))
}

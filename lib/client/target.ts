/** The query parameters of the URL. Undefined ones are omitted. */
export interface Query {
  readonly userId: string | undefined
  readonly sessionId: string | undefined
  readonly since: string | undefined
  readonly have: Record<string, number> | undefined
  readonly userSince: string | undefined
  readonly attempt: number
}

/** A longer `have` is omitted, because some proxies limit the request line. The server then sends the texts again. */
const MAX_HAVE_LENGTH = 2000

/** Matches a valid session id. Repeats the protocol's `isId` to keep the protocol's code out of the bundle. */
export const ID = /^[^\p{Cc}\p{Cs}]{1,256}$/u

const ABSOLUTE = /^\w+:/

/** Whether the option `url` is absolute, or can be resolved against the page's URL. */
export function isResolvable (option: string | undefined, pageUrl: string | undefined): boolean {
  return pageUrl !== undefined || (option !== undefined && ABSOLUTE.test(option))
}

/**
 * Returns the URL of one attempt, without a fragment, which the WebSocket standard ignores. Throws if the option is invalid.
 * Builds the query by hand, because React Native's `URL` has only getters and no `searchParams`.
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
  for (const [name, value] of Object.entries(fields)) if (value !== undefined) pairs.push(`${name}=${encodeText(value)}`)
  return pairs.length > 0 ? `${path}?${pairs.join('&')}` : path
}

/** Removes credentials, query and fragment from all URLs in a text, because they may be secret. */
export function redact (text: string): string {
  return text.replace(/\/\/[^/?#\s]*@/g, '//').replace(/[?#][^\s'"]*/g, '')
}

/** Percent-encodes a text as UTF-8. */
export function encodeText (text: string): string {
  // `encodeURIComponent` throws for a lone surrogate.
  return encodeURIComponent(text.replace(/[\ud800-\udfff]/gu, '\ufffd'))
}

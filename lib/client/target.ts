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

/** The address of one attempt. Throws where the option makes none. */
export function targetUrl (option: string | undefined, pageUrl: string | undefined, { have, attempt, ...query }: Query): string {
  const url = new URL(option ?? '/ws', pageUrl)
  url.protocol = url.protocol.replace('http', 'ws')
  const held = have && JSON.stringify(have)
  const fields = {
    ...query,
    have: held !== undefined && held.length <= MAX_HAVE_LENGTH ? held : undefined,
    attempt: attempt > 0 ? String(attempt) : undefined
  }
  for (const [name, value] of Object.entries(fields)) if (value !== undefined) url.searchParams.set(name, value)
  return url.href
}

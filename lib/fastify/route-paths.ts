/** A parenthesized regular expression in a route's path, with at most two further levels of parentheses in it. */
const GROUP = /\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)/g

/**
 * Set of route paths that tells whether a URL may belong to one of them. Fastify does not offer to look a URL up without
 * handling the request. When in doubt, such as about upper case, repeated slashes or a parameter's pattern, it says yes:
 * Fastify's router then decides.
 */
export class RoutePaths {
  readonly #patterns = new Set<string>()
  #matcher: RegExp | undefined

  /** Adds a path as routes are declared with: `/rooms/:id`, `/files/*`. */
  add (path: string): void {
    this.#patterns.add(pathPattern(path))
    this.#matcher = undefined
  }

  /** Whether a request's URL may be one of the routes. */
  mayMatch (url: string): boolean {
    if (this.#patterns.size === 0) return false
    this.#matcher ??= new RegExp(`^(?:${[...this.#patterns].join('|')})/?$`, 'is')
    return this.#matcher.test(decoded(url.replace(/[?#;].*$/s, '')).replace(/\/+/g, '/'))
  }
}

/**
 * A parameter stands for all that is left of its segment, and repeated slashes are joined before. So no two parts of the
 * pattern can match the same text, and a match takes linear time whatever the URL.
 */
function pathPattern (path: string): string {
  const [beforeWildcard = '', wildcard] = path.replace(GROUP, '').split('*', 2)
  const segments = beforeWildcard.split('/').filter((segment) => segment !== '').map((segment) => {
    const parameter = /^((?:[^:]|::)*):(?!:)/.exec(segment)
    const literal = escaped((parameter?.[1] ?? segment).replaceAll('::', ':'))
    if (parameter === null) return `/${literal}`
    return segment.endsWith('?') ? `(?:/${literal}[^/]*)?` : `/${literal}[^/]*`
  })
  return wildcard === undefined ? segments.join('') : `${segments.join('')}.*`
}

function escaped (text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
}

function decoded (path: string): string {
  try {
    return decodeURI(path)
  } catch {
    return path
  }
}

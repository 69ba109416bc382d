/** Matches a regular expression in parentheses in a route's path, with at most two nested levels of parentheses. */
const GROUP = /\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)/g

/**
 * Set of route paths that tests whether a URL may belong to one of them. Fastify can't look up a URL without handling the
 * request. In doubtful cases, such as upper case, repeated slashes or a parameter's pattern, the test returns true, and
 * Fastify's router decides.
 */
export class RoutePaths {
  readonly #patterns = new Set<string>()
  #matcher: RegExp | undefined

  /** Adds the path of a route, such as `/rooms/:id` or `/files/*`. */
  add (path: string): void {
    this.#patterns.add(pathPattern(path))
    this.#matcher = undefined
  }

  /** Whether a URL may match one of the routes. */
  mayMatch (url: string): boolean {
    if (this.#patterns.size === 0) return false
    this.#matcher ??= new RegExp(`^(?:${[...this.#patterns].join('|')})/?$`, 'is')
    return this.#matcher.test(decoded(url.replace(/[?#;].*$/s, '')).replace(/\/+/g, '/'))
  }
}

/**
 * Returns the pattern of a path. A parameter matches the rest of its segment, and repeated slashes are collapsed before the
 * match. So no two parts of the pattern can match the same text, and a match takes linear time for any URL.
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

import { fieldOf } from '../util/safe-error.js'

/** Longer texts are not searched for JSON, in UTF-16 units. */
const MAX_JSON_UNITS = 64 * 1024
/** Maximum number of positions in a text that are tried as the start of JSON. */
const MAX_ATTEMPTS = 8
/** Maximum depth of the search in JSON, including JSON inside strings. */
const MAX_DEPTH = 6
/** Fields in which providers' responses keep the message, in order of precedence. */
const FIELDS = ['message', 'error', 'detail', 'errors', 'msg']

/**
 * Returns the human-readable sentence in an error's message: without a leading HTTP status, extracted from JSON, and only the
 * first line. Returns undefined if there is none, as in an HTML page without a title.
 */
export function sentenceOf (message: string, status?: number, depth = 0): string | undefined {
  const text = withoutStatus(message.trim(), status)
  const dump = jsonAtEnd(text)
  const sentence = dump === undefined ? undefined : sentenceIn(dump.value, depth + 1)
  return sentence ?? firstLine(dump === undefined ? text : dump.before)
}

/** Returns the human-readable sentence in a response body or a thrown object. Never throws. */
export function sentenceIn (value: unknown, depth = 0): string | undefined {
  if (depth > MAX_DEPTH) return undefined
  if (typeof value === 'string') return sentenceOf(value, undefined, depth)
  for (const name of [...FIELDS, '0']) {
    const sentence = sentenceIn(fieldOf(value, name), depth + 1)
    if (sentence !== undefined) return sentence
  }
  return undefined
}

/** Removes the status that OpenAI's and Anthropic's SDKs write before the message. */
function withoutStatus (text: string, status: number | undefined): string {
  if (status === undefined || !text.startsWith(String(status))) return text
  const rest = text.slice(3).trimStart()
  return rest === 'status code (no body)' ? '' : rest
}

/** Returns the JSON at the end of a text, and the text before it. */
function jsonAtEnd (text: string): { readonly value: unknown, readonly before: string } | undefined {
  if (text.length > MAX_JSON_UNITS || !/[}\]]$/.test(text)) return undefined
  let attempts = 0
  for (const { index } of text.matchAll(/[[{]/g)) {
    if (++attempts > MAX_ATTEMPTS) break
    try {
      return { value: JSON.parse(text.slice(index)), before: withoutLabel(text.slice(0, index)) }
    } catch { /* Not the start of the JSON: try the next position. */ }
  }
  return undefined
}

/**
 * Removes a label such as `Body:` from the end. Not one regular expression: it would take cubic time on a long run of spaces.
 */
function withoutLabel (text: string): string {
  const before = text.trimEnd()
  let end = before.endsWith('Body:') ? before.length - 'Body:'.length : before.length
  while (end > 0 && /[\s:]/.test(before.charAt(end - 1))) end--
  return before.slice(0, end)
}

function firstLine (text: string): string | undefined {
  // HTML is a proxy's error page.
  const shown = text.startsWith('<') ? /<title>([^<]*)/i.exec(text)?.[1] ?? '' : text
  return shown.split('\n').map((line) => line.trim()).find((line) => /\p{L}/u.test(line))
}

import { fieldOf } from '../util/safe-error.js'

/** Longer texts are searched for no JSON, in UTF-16 units. */
const MAX_JSON_UNITS = 64 * 1024
/** So many places in a text are tried as the beginning of JSON. */
const MAX_ATTEMPTS = 8
/** So deep JSON is searched, that in its strings included. */
const MAX_DEPTH = 6
/** Where answers of the providers keep the sentence, in the order in which they are asked. */
const FIELDS = ['message', 'error', 'detail', 'errors', 'msg']

/**
 * The sentence for people in an error's message: without its HTTP status in front of it, out of the JSON that SDKs put into
 * it, and of several lines the first. Undefined where there is none, as in a page of HTML without a title.
 */
export function sentenceOf (message: string, status?: number, depth = 0): string | undefined {
  const text = withoutStatus(message.trim(), status)
  const dump = jsonAtEnd(text)
  const told = dump === undefined ? undefined : sentenceIn(dump.value, depth + 1)
  return told ?? firstLine(dump === undefined ? text : dump.before)
}

/** The same in an answer's body, or in an object that was thrown. Never throws. */
export function sentenceIn (value: unknown, depth = 0): string | undefined {
  if (depth > MAX_DEPTH) return undefined
  if (typeof value === 'string') return sentenceOf(value, undefined, depth)
  for (const name of [...FIELDS, '0']) {
    const told = sentenceIn(fieldOf(value, name), depth + 1)
    if (told !== undefined) return told
  }
  return undefined
}

/** OpenAI's and Anthropic's SDKs write the status before the message. */
function withoutStatus (text: string, status: number | undefined): string {
  if (status === undefined || !text.startsWith(String(status))) return text
  const rest = text.slice(3).trimStart()
  return rest === 'status code (no body)' ? '' : rest
}

/** JSON to which a text ends, with what is before it. */
function jsonAtEnd (text: string): { readonly value: unknown, readonly before: string } | undefined {
  if (text.length > MAX_JSON_UNITS || !/[}\]]$/.test(text)) return undefined
  let attempts = 0
  for (const { index } of text.matchAll(/[[{]/g)) {
    if (++attempts > MAX_ATTEMPTS) break
    try {
      return { value: JSON.parse(text.slice(index)), before: withoutLabel(text.slice(0, index)) }
    } catch { /* It begins elsewhere, or there is none. */ }
  }
  return undefined
}

/** What is before a body, without the label of that. Not one pattern: on a long run of spaces it would take cubic time. */
function withoutLabel (text: string): string {
  const before = text.trimEnd()
  let end = before.endsWith('Body:') ? before.length - 'Body:'.length : before.length
  while (end > 0 && /[\s:]/.test(before.charAt(end - 1))) end--
  return before.slice(0, end)
}

function firstLine (text: string): string | undefined {
  // A proxy's error page.
  const shown = text.startsWith('<') ? /<title>([^<]*)/i.exec(text)?.[1] ?? '' : text
  return shown.split('\n').map((line) => line.trim()).find((line) => /\p{L}/u.test(line))
}

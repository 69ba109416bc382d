import { readFileSync } from 'node:fs'
import { createContext, runInContext, type Context } from 'node:vm'
import type { Test } from 'tap'
import { WebSocket } from 'ws'
import type { Message } from './ws-client.js'

// The documentation that the package must fulfil, word for word. The tests read from it what they replay, so that the two can't diverge.
const text = readFileSync(new URL('platform-docs.md', import.meta.url), 'utf8')

/** Returns the code blocks below a heading, up to the next one. The heading is given without its marks, number and emoji. */
export function documented (heading: string): string[] {
  const chapters = text.split(/^#+ [^\p{L}\n]*/mu)
  const chapter = chapters.find((chapter) => chapter.startsWith(`${heading}\n`))
  if (chapter === undefined) throw new Error(`the documentation has no heading "${heading}"`)
  return [...chapter.matchAll(/^```\w*\n(.*?)^```$/gms)].map(([, code]) => code!.trim())
}

/** Returns the first code block below a heading. */
export function documentedCode (heading: string): string {
  return documented(heading)[0]!
}

const TIMESTAMP = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/
const CLIENT_ID = /^client_\d{13}_[0-9a-f]{32}$/

/**
 * Checks that a message has the same text as a printed one up to its last brace, except for client ids and timestamps.
 * Additional fields may only follow after the printed ones. The same applies inside of an error, where the additional field is
 * `retryable`.
 */
export function sameAsPrinted (t: Test, message: Message, printed: string): void {
  const expected = JSON.parse(printed) as Message
  if ('timestamp' in expected) {
    t.match(message.timestamp, TIMESTAMP)
    expected.timestamp = message.timestamp as unknown
  }
  if ('clientId' in expected) {
    t.match(message.clientId, CLIENT_ID)
    expected.clientId = message.clientId as unknown
  }
  const wanted = JSON.stringify(expected).slice(0, -1)
  const received = JSON.stringify(message).replace(/,"retryable":(?:true|false)\}/, '}')
  t.equal(received.slice(0, wanted.length), wanted)
  t.match(received.slice(wanted.length), /^[,}]/)
}

/**
 * Returns a context in which documented code runs. Its `WebSocket` is the one of ws, and connects to this server instead of the
 * documented one. Its sockets and timers end with the test.
 */
export function browser (t: Test, origin: string, globals: Record<string, unknown> = {}): { context: Context, sockets: WebSocket[] } {
  const sockets: WebSocket[] = []
  class BrowserSocket extends WebSocket {
    constructor (url: string) {
      super(url.replace(/^ws:\/\/localhost:3001(?=\/)/, origin))
      sockets.push(this)
    }
  }
  const timers: NodeJS.Timeout[] = []
  t.teardown(() => {
    for (const timer of timers) clearTimeout(timer)
    for (const socket of sockets) socket.terminate()
  })
  const context = createContext({
    WebSocket: BrowserSocket,
    setTimeout: (callback: () => void, ms: number) => { timers.push(setTimeout(callback, ms)) },
    setInterval: (callback: () => void, ms: number) => { timers.push(setInterval(callback, ms)) },
    ...globals
  })
  return { context, sockets }
}

/** Runs documented code without its imports, which can't be part of a script. The globals must contain what the code imports. */
export function run (code: string, context: Context): unknown {
  return runInContext(code.replace(/^import .*$/gm, ''), context)
}

/**
 * Returns a function whose calls can be awaited one by one. It replaces a method of `console`, or any other function that
 * documented code calls.
 */
export function recorder (): { call: (...args: unknown[]) => void, next: () => Promise<unknown[]> } {
  const calls: unknown[][] = []
  let wake: (() => void) | undefined
  return {
    call: (...args) => {
      calls.push(args)
      wake?.()
    },
    next: async () => {
      if (calls.length === 0) await new Promise<void>((resolve) => { wake = resolve })
      return calls.shift()!
    }
  }
}

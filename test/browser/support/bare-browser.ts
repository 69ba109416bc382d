import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'
import { WebSocket } from 'ws'
import { chromium } from '../../support/real-parts.js'

/** A reply of the browser's DevTools protocol, as far as it is read here. */
interface Answer {
  readonly id?: number
  readonly error?: { readonly message: string }
  readonly result?: {
    readonly targetId?: string
    readonly sessionId?: string
    readonly result?: { readonly value?: unknown }
    readonly exceptionDetails?: unknown
  }
}

/** A browser with one window. The tab that was opened or shown last is visible, the others are hidden. */
export interface BareBrowser {
  openTab (url: string): Promise<BareTab>
}

interface BareTab {
  /** Evaluates an expression in the page and awaits its result. */
  evaluate (expression: string): Promise<unknown>
  /**
   * Resolves when the expression is true. Checks it after each change of the document, because timers of hidden pages are slow.
   */
  until (expression: string): Promise<void>
  /** Leaves the page with an expression. Resolves when another page is loaded in which the second expression is true. */
  go (leave: string, arrived: string): Promise<void>
  show (): Promise<void>
}

/**
 * Starts a real browser without Playwright, which makes every page believe that it is visible. Closes it when the test ends.
 */
export async function launchBare (t: Test): Promise<BareBrowser> {
  const profile = mkdtempSync(join(tmpdir(), 'ai-canvas-browser-'))
  const child = spawn(chromium.find()!, [
    '--headless=new', '--remote-debugging-port=0', `--user-data-dir=${profile}`, '--no-first-run', '--disable-dev-shm-usage',
    // Chromium refuses its sandbox to root, the user of tests in containers.
    ...process.getuid?.() === 0 ? ['--no-sandbox'] : [], 'about:blank'
  ])
  t.teardown(async () => {
    const closed = once(child, 'close')
    child.kill('SIGKILL')
    await closed
    // The browser's helpers exit after it, and write until then.
    rmSync(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
  })
  const socket = new WebSocket(await addressOf(child))
  t.teardown(() => { socket.terminate() })
  await once(socket, 'open')

  const waiting = new Map<number, (answer: Answer) => void>()
  let asked = 0
  socket.on('message', (data: Buffer) => {
    const answer = JSON.parse(data.toString()) as Answer
    if (answer.id !== undefined) waiting.get(answer.id)?.(answer)
  })
  async function send (method: string, params: object, sessionId?: string): Promise<NonNullable<Answer['result']>> {
    const id = ++asked
    const answer = new Promise<Answer>((resolve) => { waiting.set(id, resolve) })
    socket.send(JSON.stringify({ id, method, params, sessionId }))
    const { result, error } = await answer
    if (result === undefined || result.exceptionDetails !== undefined) {
      throw new Error(`${method}: ${JSON.stringify(error ?? result?.exceptionDetails)}`)
    }
    return result
  }

  return {
    async openTab (url) {
      const { targetId } = await send('Target.createTarget', { url: 'about:blank' })
      const { sessionId } = await send('Target.attachToTarget', { targetId, flatten: true })
      // The reply must come from the new page: the old one would never reply.
      await send('Page.navigate', { url }, sessionId)
      const evaluate = async (expression: string): Promise<unknown> =>
        (await send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true }, sessionId)).result?.value
      return {
        evaluate,
        async until (expression) {
          await evaluate(`new Promise((resolve) => {
            const check = () => { if (${expression}) resolve() }
            new MutationObserver(check).observe(document, { subtree: true, childList: true, characterData: true })
            check()
          })`)
        },
        async go (leave, arrived) {
          await evaluate(`setTimeout(() => { ${leave} }), 0`)
          // A page that is being left does not reply, so ask again until one of them does.
          while (await evaluate(arrived).catch(() => false) !== true) await new Promise((resolve) => { setTimeout(resolve, 20) })
        },
        async show () {
          await send('Target.activateTarget', { targetId })
        }
      }
    }
  }
}

async function addressOf (child: ChildProcess): Promise<string> {
  for await (const line of createInterface(child.stderr!)) {
    const address = /^DevTools listening on (\S+)$/.exec(line)?.[1]
    if (address === undefined) continue
    // The rest of the output must be consumed, or the browser would block.
    child.stderr!.resume()
    return address
  }
  throw new Error('the browser exited before it was listening')
}

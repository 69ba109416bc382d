import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'
import { WebSocket } from 'ws'
import { chromium } from '../../support/real-parts.js'

/** What the browser's DevTools protocol answers, as far as it is read here. */
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

/** A browser with one window. The tab that was opened or shown last is seen, and the others are hidden. */
export interface BareBrowser {
  openTab (url: string): Promise<BareTab>
}

interface BareTab {
  /** What an expression comes to in the page, awaited. */
  evaluate (expression: string): Promise<unknown>
  /** Resolves when the expression holds, which is asked after each change of the document: a hidden page's timers are slow. */
  until (expression: string): Promise<void>
  /** Leaves the page by an expression, and resolves when another one is there, of which the second expression holds. */
  go (leave: string, arrived: string): Promise<void>
  show (): Promise<void>
}

/**
 * A real browser without Playwright, which tells every page that it is in front: with it no tab is ever a hidden one. Closed
 * when the test ends.
 */
export async function launchBare (t: Test): Promise<BareBrowser> {
  const profile = mkdtempSync(join(tmpdir(), 'ai-canvas-browser-'))
  const child = spawn(chromium.find()!, [
    '--headless=new', '--remote-debugging-port=0', `--user-data-dir=${profile}`, '--no-first-run', '--disable-dev-shm-usage',
    // Chromium refuses its sandbox to root, which is who runs tests in a container
    ...process.getuid?.() === 0 ? ['--no-sandbox'] : [], 'about:blank'
  ])
  t.teardown(async () => {
    const closed = once(child, 'close')
    child.kill('SIGKILL')
    await closed
    // Its helpers end after it, and write until then
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
      // Answered when the page is another one: in the one before, what is asked would never be answered
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
          // A page that is being left does not answer: it is asked again, the next one or this one.
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
    // Nobody reads on, and what nobody reads must not stop it
    child.stderr!.resume()
    return address
  }
  throw new Error('the browser ended before it listened')
}

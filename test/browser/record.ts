import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { chromium as playwright, type Page } from 'playwright-core'
import { chromium } from '../support/real-parts.js'
import { CanvasPage, says } from './support/canvas-page.js'

// `npm run demo:record`: drives the page through start, cut, catch up and stop, and writes the screenshots as an animation. It
// needs Chromium and img2webp (Debian package webp).

const ROOT = join(import.meta.dirname, '../..')
const TARGET = join(ROOT, 'examples/canvas/demo.webp')
const MAX_BYTES = 2 * 1024 * 1024
const SIZE = { width: 1280, height: 960 }
/** The minimum duration of a frame. The actual one is the time between two screenshots. */
const FRAME_MS = 200

interface Frame { file: string, at: number }

const executablePath = chromium.find()
if (executablePath === undefined) throw new Error(`${chromium.name} is missing: apt-get install ${chromium.debianPackage}`)

const server = spawn(process.execPath, ['--import', 'tsx', 'examples/canvas/server.ts'], {
  cwd: ROOT, env: { ...process.env, PORT: '0', OPENAI_BASE_URL: '', OPENAI_API_KEY: '' }, stdio: ['ignore', 'pipe', 'inherit']
})
const folder = mkdtempSync(join(tmpdir(), 'ai-canvas-demo-'))
const browser = await playwright.launch({ executablePath, chromiumSandbox: process.getuid?.() !== 0, args: ['--disable-dev-shm-usage'] })
try {
  const page = await browser.newPage({ viewport: SIZE, colorScheme: 'light' })
  await page.goto(`${await address()}/?sessionId=demo`)
  write(await record(page))
} finally {
  await browser.close()
  server.kill('SIGTERM')
  rmSync(folder, { recursive: true })
}

async function address (): Promise<string> {
  for await (const line of createInterface(server.stdout)) {
    const [url] = /http:\/\/localhost:\d+/.exec(line) ?? []
    if (url !== undefined) return url
  }
  throw new Error('the server exited before it was listening')
}

async function record (page: Page): Promise<Frame[]> {
  const canvas = new CanvasPage(page)
  const { you } = canvas
  await says(you.connection, /^Connected/)
  await says(canvas.step('Kill the server'), 'kill -9')
  // Loads the compiler first, so that the recording shows a server that is already warm.
  await canvas.start()
  await says(you.text, 'ManagerOptions')
  await canvas.stop()
  await page.goto(page.url().replace('=demo', '=demo_2'))
  await says(you.connection, /^Connected/)

  const frames: Frame[] = []
  const over = new AbortController()
  const camera = (async () => {
    while (!over.signal.aborted) {
      const file = join(folder, `${String(frames.length).padStart(4, '0')}.png`)
      const at = Date.now()
      await page.screenshot({ path: file })
      frames.push({ file, at })
      await page.waitForTimeout(Math.max(0, at + FRAME_MS - Date.now()))
    }
  })()
  await canvas.start()
  await says(you.panel, /[1-9],?\d{3} characters/)
  await you.cut.click()
  await says(you.log, 'Caught up')
  // Shows the highlight until it disappears.
  await page.waitForTimeout(3_000)
  await canvas.stop()
  await says(you.job, 'Stopped')
  await page.waitForTimeout(1_500)
  over.abort()
  await camera
  return frames
}

function write (frames: readonly Frame[]): void {
  mkdirSync(join(ROOT, 'docs'), { recursive: true })
  const shown = frames.flatMap(({ file, at }, index) => ['-d', String((frames[index + 1]?.at ?? at + 2_000) - at), '-lossy', '-q', '40', file])
  const made = spawnSync('img2webp', ['-loop', '0', '-kmin', '30', '-kmax', '60', ...shown, '-o', TARGET], { stdio: 'inherit' })
  if (made.error !== undefined) throw new Error('img2webp is missing: apt-get install webp', { cause: made.error })
  const { size } = statSync(TARGET)
  if (made.status !== 0 || size > MAX_BYTES) throw new Error(`${TARGET} could not be written, or has more than ${MAX_BYTES} bytes: ${size}`)
  process.stdout.write(`${TARGET}: ${frames.length} frames, ${size} bytes\n`)
}

import { createInterface } from 'node:readline'
import { createPublisher } from '../../../lib/redis/index.js'

// A worker without a web server. Each line of stdin is a command. It writes the results to stdout.

const { REDIS_PORT, LEASE_MS } = process.env
const publisher = await createPublisher({ redis: { port: Number(REDIS_PORT) }, leaseMs: Number(LEASE_MS), closeTimeoutMs: 5_000 })
const say = (line: string): void => { process.stdout.write(`${line}\n`) }

/** Yields words until it is cancelled. */
async function * endless (signal: AbortSignal): AsyncGenerator<string> {
  for (let word = 0; ; word++) {
    yield `word ${word} `
    await new Promise((resolve) => { setTimeout(resolve, 20) })
    signal.throwIfAborted()
  }
}

const commands: Record<string, () => unknown> = {
  tell: () => publisher.runAI('s', { prompt: 'x' }, ['Once ', 'upon ', 'a time 💡'], { jobId: 'j', text: true, throttleMs: 0 }),
  run: async () => {
    const { status, error } = await publisher.runAI('s', { prompt: 'x' }, endless, { jobId: 'j', text: true, throttleMs: 0 }) as { status: string, error: { type: string } }
    say(`${status} ${error.type}`)
  },
  close: async () => {
    await publisher.close()
    say('closed')
    process.stdin.destroy()
  }
}

say('ready')
createInterface(process.stdin).on('line', (line) => { void commands[line]?.() })

import { Value } from '@sinclair/typebox/value'
import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import type { ClientOptions } from 'ws'
import { ServerMessage } from 'ai-canvas-ws/protocol'
import type { AiCanvasWsOptions } from 'ai-canvas-ws'
import { startApp, type StartedApp } from '../support/app.js'
import { open, type Message, type TestClient } from '../support/ws-client.js'

// Plays the transcripts of lib/protocol/README.md against a real server. Their notation is explained there.

interface Stage {
  readonly app: FastifyInstance
  client: TestClient
  /** The latest epoch that the client received. */
  epoch: string
}

interface Positioned extends Message {
  epoch?: string
  user?: { epoch: string }
}

/** A function that carries out a step, which a transcript names in parentheses. */
export type Deed = (stage: Stage) => unknown

export interface Scene {
  readonly options?: AiCanvasWsOptions
  readonly client?: ClientOptions
  readonly before?: (started: StartedApp, t: Test) => Promise<unknown>
}

const serverTypes = new Set<string>(ServerMessage.anyOf.map(({ properties }) => properties.type.const))

export async function play (t: Test, transcript: string, scene: Scene, deeds: Readonly<Record<string, Deed>>): Promise<void> {
  const [first, ...lines] = transcript.split('\n')
  const started = await startApp(t, scene.options)
  await scene.before?.(started, t)
  const enter = (line: string): TestClient => {
    const [, path, protocols] = /^connect (\S+)(?: (.+))?$/.exec(line) ?? []
    if (path === undefined) throw new Error(`a transcript must begin with "connect /…", but begins with ${line}`)
    return open(t, `${started.origin}${path}`, {
      ...scene.client, ...(protocols !== undefined && { protocols: protocols.split(', ') })
    })
  }
  const stage: Stage = { app: started.app, client: enter(first!), epoch: 'none received yet' }
  for (const line of lines) {
    if (line.startsWith('connect ')) stage.client = enter(withEpoch(line, stage))
    else await step(t, line, stage, deeds)
  }
  const { client } = stage
  if (lines.at(-1)!.startsWith('< close')) t.same(client.waiting, [], 'no other message arrives')
  else t.same(await client.sync(), [], 'no other message arrives')
}

/** Returns a line of the client, with the latest epoch instead of `…`. */
function withEpoch (line: string, { epoch }: Stage): string {
  return line.replaceAll('…', () => epoch)
}

async function step (t: Test, line: string, stage: Stage, deeds: Readonly<Record<string, Deed>>): Promise<void> {
  const { app, client } = stage
  const close = /^< close (\d+) ?(.*)$/.exec(line)
  const call = /^! (\w+)\((.*)\)$/.exec(line)
  if (close !== null) {
    t.same(await client.closed, { code: Number(close[1]), reason: close[2] }, line)
  } else if (line.startsWith('< ')) {
    const message = await client.next()
    meets(t, message, JSON.parse(line.slice(2)) as Message, line)
    const { epoch, user }: Positioned = message
    stage.epoch = epoch ?? user?.epoch ?? stage.epoch
  } else if (line.startsWith('> ')) {
    client.send(withEpoch(line.slice(2), stage))
  } else if (call !== null) {
    const [, method, args] = call
    const manager = app.wsManager as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>
    await manager[method!]!(...JSON.parse(`[${args!}]`) as unknown[])
  } else {
    const deed = deeds[line.replace(/^\((.*)\)$/, '$1')]
    if (deed === undefined) throw new Error(`unknown step: ${line}`)
    await deed(stage)
  }
}

/** Checks that a message matches a line of a transcript, in which `…` stands for any text, and its schema. */
export function meets (t: Test, actual: Message, expected: Message, line: string): void {
  t.strictSame(actual, filled(expected, actual), line)
  if (serverTypes.has(actual.type)) t.ok(Value.Check(ServerMessage, actual), `its schema allows ${actual.type}`)
}

function filled (expected: unknown, actual: unknown): unknown {
  if (expected === '…') return typeof actual === 'string' && actual !== '' ? actual : 'some text'
  if (Array.isArray(expected) || typeof expected !== 'object' || expected === null) return expected
  const given = (actual ?? {}) as Record<string, unknown>
  return Object.fromEntries(Object.entries(expected).map(([name, value]) => [name, filled(value, given[name])]))
}

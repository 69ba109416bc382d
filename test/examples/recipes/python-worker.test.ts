import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { originOf, startApp } from '../../support/app.js'
import { BusStore } from '../../support/bus-store.js'
import { ended, endsOf, follow } from '../../support/sessions.js'
import { runProgram, type Program } from './support.js'

const noPython = spawnSync('python3', ['--version']).status !== 0 && 'needs Python 3: apt-get install python3'
const TEXT = 'This is a report about the sea. 📄 It is written by a worker in Python. '

/** Starts two nodes of an app. */
async function startNodes (t: Test) {
  const store = new BusStore()
  t.teardown(() => { store.close() })
  const start = () => startApp(t, {
    broker: store.createBroker(),
    publish: {
      onRequest: (request, reply, done) => {
        if (request.headers.authorization === 'Bearer secret') done()
        else void reply.code(401).send({ message: 'a wrong secret' })
      }
    }
  })
  const nodes = [await start(), await start()] as const
  return { nodes, targets: nodes.map(({ app }) => `${originOf(app, 'http')}/api/ws/publish`) }
}

/** Starts a load balancer over nodes. `fails` returns the fault of a request: it is not forwarded, its answer is lost, or it gets a 503. */
async function balance (t: Test, targets: readonly string[], fails: (count: number) => 'request' | 'answer' | 503 | undefined): Promise<string> {
  let count = 0
  const server = createServer((request, response) => {
    void (async () => {
      const body = await text(request)
      const fault = fails(++count)
      if (fault === 503) {
        response.writeHead(503, { 'retry-after': '0' }).end()
        return
      }
      const headers = Object.fromEntries(['content-type', 'authorization', 'idempotency-key'].map((name) => [name, String(request.headers[name])]))
      const answer = fault === 'request' ? undefined : await fetch(targets[count % targets.length]!, { method: 'POST', headers, body })
      if (answer === undefined || fault === 'answer') response.destroy()
      else response.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text())
    })()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
}

const work = (t: Test, url: string, env: NodeJS.ProcessEnv = {}): Program =>
  runProgram(t, 'python3', ['-B', 'worker.py', 's', 'the sea'], 'python-worker', { PUBLISH_URL: url, PUBLISH_SECRET: 'secret', SECONDS_PER_WORD: '0.05', ...env })

t.test('a worker reports to two nodes, every other answer is lost, and each report arrives once', { skip: noPython }, async (t) => {
  const { nodes: [a, b], targets } = await startNodes(t)
  const clients = [await follow(t, a), await follow(t, b)]
  const ends = clients.map(endsOf)
  const faults = ['request', 'answer', 503] as const
  const worker = work(t, await balance(t, targets, (count) => count % 2 === 0 ? undefined : faults[(count >> 1) % 3]))
  const { code, output } = await worker.ended
  t.equal(code, 0, output)
  const jobId = output.trim()
  for (const client of clients) t.match(await ended(client, jobId), { status: 'complete', text: TEXT, result: { by: 'a worker in Python' } })
  t.same(ends, [[`ai_complete ${jobId}`], [`ai_complete ${jobId}`]])
})

t.test('a worker that fails ends its job', { skip: noPython }, async (t) => {
  const { nodes: [a], targets } = await startNodes(t)
  const client = await follow(t, a)
  const jobs = new Promise<string>((resolve) => { client.on('ai_start', ({ jobId }) => { resolve(String(jobId)) }) })
  t.match(await work(t, targets[0]!, { FAIL_AT: 'report' }).ended, { code: 1, output: /RuntimeError: the model is away/ })
  t.match(await ended(client, await jobs), { status: 'error', text: 'This is a ', error: { type: 'internal_error', message: 'the worker failed' } })
})

t.test('a worker with a wrong secret is refused at once', { skip: noPython }, async (t) => {
  const { targets } = await startNodes(t)
  t.match(await work(t, targets[0]!, { PUBLISH_SECRET: 'guess' }).ended, { code: 1, output: /Refused: 401 .*a wrong secret/ })
})

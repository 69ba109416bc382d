import { mock } from 'node:test'
import t, { type Test } from 'tap'
import type { Agent } from '../../../examples/canvas/agents/agent.js'
import { runJob, type Notifier, type Outcome } from '../../../examples/canvas/run-job.js'

type Told = [what: string, content: unknown]

interface Ran {
  told: Told[]
  /** What was told before `onEnd` was called. */
  before: Told[]
  outcome: Outcome | undefined
}

const task = { mode: 'generate', prompt: 'p', targetFile: 'a.ts' }

function notifier (told: Told[]): Notifier {
  const tell = (what: string) => async (sessionId: string, content: unknown) => {
    told.push([`${sessionId} ${what}`, content])
    return { recipients: 1 }
  }
  return { notifyAIStart: tell('start'), notifyAIProgress: tell('progress'), notifyAIComplete: tell('complete'), notifyAIError: tell('error') }
}

async function run (agent: Agent, { signal = new AbortController().signal, maxContentLength = 100, notify = notifier } = {}): Promise<Ran> {
  const ran: Ran = { told: [], before: [], outcome: undefined }
  await runJob({ sessionId: 's', task, agent, signal }, {
    notifier: notify(ran.told),
    maxContentLength,
    onEnd (outcome) {
      ran.outcome = outcome
      ran.before = [...ran.told]
    }
  })
  return ran
}

function useFakeTime (t: Test): void {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => { mock.timers.reset() })
}

t.test('a job is told from its start over its progress to its end', async (t) => {
  const { told, before, outcome } = await run(async function * () { yield * ['grü', 'ß', ' 👋'] })
  t.same(told, [
    ['s start', task],
    ['s progress', { chunksReceived: 1, contentLength: 3 }],
    ['s progress', { chunksReceived: 3, contentLength: 7 }],
    ['s complete', { mode: 'generate', contentLength: 7, chunks: 3, targetFile: 'a.ts' }]
  ], 'lengths count UTF-16 units')
  t.same(outcome, { content: 'grüß 👋', chunks: 3 })
  t.equal(before.length, 3, 'the result can be fetched before the end is told')
})

t.test('progress comes once in 100 ms, with the newest figures, and a last time at the end', async (t) => {
  useFakeTime(t)
  const { told } = await run(async function * () {
    for (let ms = 0; ms < 250; ms += 10) {
      yield '.'
      mock.timers.tick(10)
    }
  })
  t.same(told.filter(([what]) => what === 's progress').map(([, progress]) => progress), [
    { chunksReceived: 1, contentLength: 1 },
    { chunksReceived: 10, contentLength: 10 },
    { chunksReceived: 20, contentLength: 20 },
    { chunksReceived: 25, contentLength: 25 }
  ])
})

t.test('progress is told while the agent pauses', async (t) => {
  useFakeTime(t)
  let told: Told[] = []
  await run(async function * () {
    yield 'a'
    yield 'b'
    t.same(told.at(-1), ['s progress', { chunksReceived: 1, contentLength: 1 }])
    mock.timers.tick(100)
    t.same(told.at(-1), ['s progress', { chunksReceived: 2, contentLength: 2 }])
  }, { notify: (all) => notifier(told = all) })
})

t.test('a failure is told with the error itself, after the last progress, and the text so far is kept', async (t) => {
  const failure = Object.assign(new Error('limit'), { status: 429 })
  const { told, outcome } = await run(async function * () {
    yield * ['a', 'b']
    throw failure
  })
  t.same(told.map(([what]) => what), ['s start', 's progress', 's progress', 's error'])
  t.equal(told.at(-1)?.[1], failure)
  t.match(outcome, { content: 'ab', chunks: 2, error: failure })
})

t.test('an agent that fails at once, or throws what is no error, is told as well', async (t) => {
  const { told } = await run(() => { throw new Error('at once') })
  t.match(told, [['s start', task], ['s error', new Error('at once')]])
  const odd = await run(async function * () { throw 'a string' }) // eslint-disable-line @typescript-eslint/only-throw-error -- the point of the test
  t.match(odd.told.at(-1)?.[1], { message: 'the agent failed without saying why', cause: 'a string' })
})

t.test('a text that grows past its bound ends the job', async (t) => {
  let cleaned = false
  const { told, outcome } = await run(async function * () {
    try { for (;;) yield 'xxxx' } finally { cleaned = true }
  }, { maxContentLength: 10 })
  t.match(told.at(-1), ['s error', { type: 'output_too_large', message: 'the text grew past 10 characters: ask for less at a time' }])
  t.equal(outcome?.content.length, 12)
  t.equal(cleaned, true)
})

t.test('a job that is stopped says why, whether its agent listens, hangs, or ends as if it were done', async (t) => {
  const agents: Record<string, (controller: AbortController) => Agent> = {
    listens: (controller) => async function * (_task, { signal }) {
      yield 'a'
      controller.abort(new Error('stopped'))
      signal.throwIfAborted()
    },
    'throws something of its own': (controller) => async function * () {
      yield 'a'
      controller.abort(new Error('stopped'))
      throw new Error('Request was aborted.')
    },
    hangs: (controller) => async function * () {
      yield 'a'
      setImmediate(() => { controller.abort(new Error('stopped')) })
      await new Promise(() => undefined)
    },
    returns: (controller) => async function * () {
      yield 'a'
      controller.abort(new Error('stopped'))
    }
  }
  for (const [name, agent] of Object.entries(agents)) {
    const controller = new AbortController()
    const { told, outcome } = await run(agent(controller), { signal: controller.signal })
    t.match(told.at(-1), ['s error', new Error('stopped')], name)
    t.match(outcome, { content: 'a' }, name)
  }
})

t.test('a notification that fails ends nothing', async (t) => {
  const { outcome } = await run(async function * () { yield 'a' }, {
    notify: (told) => ({ ...notifier(told), notifyAIComplete: async () => { throw new Error('the broker is gone') } })
  })
  t.same(outcome, { content: 'a', chunks: 1 })
})

import t from 'tap'
import type { Agent } from '../../../examples/canvas/agents/agent.js'
import { runJob, type Outcome } from '../../../examples/canvas/run-job.js'
import { track } from '../../../lib/jobs/track.js'
import { FakeClock } from '../../support/fake-clock.js'
import { fakeReporter, type FakeReporter } from '../../support/fake-reporter.js'

interface Ran {
  reporter: FakeReporter
  /** The tracked jobs. */
  asked: unknown[]
  /** The reported ends: exactly one if all is well. */
  outcomes: Outcome[]
  /** Whether the session had been notified of the end before the app's callback. */
  sessionKnew: boolean
}

interface Setting {
  signal?: AbortSignal
  maxContentLength?: number
  reporter?: FakeReporter
}

const task = { mode: 'generate', prompt: 'p', targetFile: 'a.ts' }

/** Runs a job with a fake tracker that behaves like the manager, and a fake clock. */
async function run (
  agent: Agent, { signal = new AbortController().signal, maxContentLength = 100, reporter = fakeReporter() }: Setting = {}
): Promise<Ran> {
  const ran: Ran = { reporter, asked: [], outcomes: [], sessionKnew: false }
  await runJob({ sessionId: 's', task, agent, signal }, {
    tracker: {
      trackAI: (sessionId, tracked, text, options) => {
        ran.asked.push([sessionId, tracked])
        return track(reporter, tracked, text, options, new FakeClock())
      }
    },
    maxContentLength,
    onEnd (outcome) {
      ran.outcomes.push(outcome)
      ran.sessionKnew = reporter.ends.length > 0
    }
  })
  return ran
}

t.test('a job is reported from its first text to its end', async (t) => {
  const { reporter, asked, outcomes, sessionKnew } = await run(async function * () { yield * ['grü', 'ß', ' 👋'] })
  t.same(asked, [['s', task]])
  t.same(reporter.reports, [
    ['progress', { chunksReceived: 1, contentLength: 3, delta: 'grü' }],
    ['progress', { chunksReceived: 3, contentLength: 7, delta: 'ß 👋' }],
    ['complete', { mode: 'generate', contentLength: 7, chunks: 3, targetFile: 'a.ts' }]
  ], 'lengths count UTF-16 units')
  t.same(outcomes, [{ content: 'grüß 👋', chunks: 3 }])
  t.equal(sessionKnew, false, 'the result can be fetched before the end is reported')
})

t.test('a failure is reported with the error itself, after the last progress, and the text so far is kept', async (t) => {
  const failure = Object.assign(new Error('limit'), { status: 429 })
  const { reporter, outcomes, sessionKnew } = await run(async function * () {
    yield * ['a', 'b']
    throw failure
  })
  t.same(reporter.reports.map(([name]) => name), ['progress', 'progress', 'error'])
  t.equal(reporter.text, 'ab')
  t.equal(reporter.ends[0]?.[1], failure)
  t.match(outcomes, [{ content: 'ab', chunks: 2, error: failure }])
  t.equal(sessionKnew, false)
})

t.test('an agent that fails immediately, or throws a value that is not an error, is reported as well', async (t) => {
  const { reporter, outcomes } = await run(() => { throw new Error('at once') })
  t.match(reporter.reports, [['error', new Error('at once')]])
  t.match(outcomes, [{ content: '', error: { message: 'at once' } }])
  const odd = await run(async function * () { throw 'a string' }) // eslint-disable-line @typescript-eslint/only-throw-error -- the point of the test
  t.match(odd.reporter.ends, [['error', { message: 'the agent failed without an error message', cause: 'a string' }]])
})

t.test('a text that exceeds its limit ends the job', async (t) => {
  let cleaned = false
  const { reporter, outcomes } = await run(async function * () {
    try { for (;;) yield 'xxxx' } finally { cleaned = true }
  }, { maxContentLength: 10 })
  t.match(reporter.ends, [['error', { type: 'output_too_large', message: 'the text exceeds 10 characters: ask for less at a time' }]])
  t.equal(outcomes[0]?.content.length, 12)
  t.equal(cleaned, true)
})

/** The ways in which an agent may react to being stopped. */
const agents: Record<string, (stop: () => void) => Agent> = {
  listens: (stop) => async function * (_task, { signal }) {
    yield 'a'
    stop()
    await Promise.resolve()
    signal.throwIfAborted()
    await new Promise((_resolve, reject) => { signal.addEventListener('abort', () => { reject(signal.reason as Error) }) })
  },
  'throws something of its own': (stop) => async function * (_task, { signal }) {
    yield 'a'
    stop()
    await new Promise((resolve) => { if (signal.aborted) resolve(undefined); else signal.addEventListener('abort', resolve) })
    throw new Error('Request was aborted.')
  },
  hangs: (stop) => async function * () {
    yield 'a'
    setImmediate(stop)
    await new Promise(() => undefined)
  },
  returns: (stop) => async function * () {
    yield 'a'
    stop()
  }
}

t.test('a stopped job states its reason, whether its agent reacts, hangs, or ends as if it were done', async (t) => {
  for (const [name, agent] of Object.entries(agents)) {
    const controller = new AbortController()
    const { reporter, outcomes } = await run(agent(() => { controller.abort(new Error('stopped')) }), { signal: controller.signal })
    t.match(reporter.ends, [['error', new Error('stopped')]], name)
    t.match(outcomes, [{ content: 'a', error: { message: 'stopped' } }], name)
  }
})

t.test('a job that a client cancels ends as cancelled, and its agent is stopped', async (t) => {
  for (const [name, agent] of Object.entries(agents)) {
    const reporter = fakeReporter()
    let agentSignal: AbortSignal | undefined
    const cancelled = agent(() => { reporter.cancel(new DOMException('the job was cancelled', 'AbortError')) })
    const { outcomes } = await run((asked, context) => {
      agentSignal = context.signal
      return cancelled(asked, context)
    }, { reporter })
    t.same(reporter.ends, [['error', { message: 'the job was cancelled', type: 'cancelled' }]], name)
    t.match(outcomes, [{ content: 'a', error: { message: 'the job was cancelled' } }], name)
    t.equal(agentSignal?.aborted, true, name)
  }
})

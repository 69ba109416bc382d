import t from 'tap'
import { TIMED_OUT } from '../../../lib/util/deadline.js'
import { Watchdog } from '../../../lib/manager/watchdog.js'
import { turn } from '../../support/hand-broker.js'
import { createFarServer, createServer } from '../../support/server.js'
import { FakeClock } from '../../support/fake-clock.js'

function create (onStall: (id: string, watchdog: Watchdog) => void = () => undefined) {
  const clock = new FakeClock()
  const stalled: string[] = []
  const watchdog: Watchdog = new Watchdog({
    clock,
    stallAfterMs: 1_000,
    onStall: ({ sessionId, jobId }) => {
      stalled.push(`${sessionId}/${jobId}`)
      onStall(jobId, watchdog)
    }
  })
  return { clock, watchdog, stalled }
}

t.test('a job without reports stalls, once', async (t) => {
  const { clock, watchdog, stalled } = create()
  watchdog.keepAlive('s', 'j')
  clock.advance(999)
  t.same(stalled, [])
  clock.advance(1)
  t.same(stalled, ['s/j'])
  clock.advance(10_000)
  t.same(stalled, ['s/j'])
  t.equal(clock.pending, 0)
})

t.test('jobs are watched independently, with one timer for all', async (t) => {
  const { clock, watchdog, stalled } = create()
  watchdog.keepAlive('s', 'a')
  clock.advance(400)
  watchdog.keepAlive('s', 'b')
  watchdog.keepAlive('x', 'a')
  t.equal(clock.pending, 1)
  clock.advance(400)
  watchdog.keepAlive('s', 'a')
  clock.advance(600)
  t.same(stalled, ['s/b', 'x/a'])
  clock.advance(399)
  t.equal(stalled.length, 2)
  clock.advance(1)
  t.same(stalled, ['s/b', 'x/a', 's/a'])
})

t.test('keepAlive resets the stall timer, any number of times', async (t) => {
  const { clock, watchdog, stalled } = create()
  t.equal(watchdog.find('s', 'a'), undefined)
  watchdog.keepAlive('s', 'a')
  watchdog.keepAlive('s', 'b')
  const job = watchdog.find('s', 'a')!
  for (let i = 0; i < 9; i++) {
    clock.advance(300)
    job.keepAlive()
    t.ok(clock.pending <= 1, 'no separate timer')
  }
  t.same(stalled, ['s/b'])
  clock.advance(999)
  t.equal(stalled.length, 1)
  clock.advance(1)
  t.same(stalled, ['s/b', 's/a'], 'exactly the stall timeout after its last sign of life')
  t.equal(watchdog.find('s', 'a'), undefined)
  job.keepAlive()
  t.equal(clock.pending, 0, 'a stalled job is no longer watched')
})

t.test('a job that ended is no longer watched', async (t) => {
  const { clock, watchdog, stalled } = create()
  watchdog.keepAlive('s', 'j')
  watchdog.ended('s', 'j')
  watchdog.ended('s', 'never seen')
  clock.advance(5_000)
  t.same(stalled, [])
  t.equal(clock.pending, 0)
})

t.test('a job that reports while others are found stalled stays watched', async (t) => {
  const { clock, watchdog, stalled } = create((id, dog) => { if (id === 'a' && stalled.length === 1) dog.keepAlive('s', 'a') })
  watchdog.keepAlive('s', 'a')
  watchdog.keepAlive('s', 'b')
  clock.advance(1_000)
  t.same(stalled, ['s/a', 's/b'])
  t.equal(clock.pending, 1)
  clock.advance(1_000)
  t.same(stalled, ['s/a', 's/b', 's/a'])
  t.equal(clock.pending, 0)
})

t.test('stop returns the running jobs, and nothing stalls afterwards', async (t) => {
  const { clock, watchdog, stalled } = create()
  t.same(watchdog.stop(), [])
  watchdog.keepAlive('s', 'a')
  watchdog.keepAlive('s', 'b')
  watchdog.ended('s', 'a')
  t.match(watchdog.stop(), [{ sessionId: 's', jobId: 'b' }])
  t.same(watchdog.stop(), [])
  clock.advance(5_000)
  t.same(stalled, [])
})

t.test('chunks keep a tracked job alive, however rarely its progress is sent', async (t) => {
  for (const throttleMs of [5_000, Infinity]) {
    const server = createServer({ jobs: { stallAfterMs: 1_000 } })
    const peer = await server.connect({ sessionId: 's' })
    async function* chunks (): AsyncGenerator<string> {
      for (const chunk of 'It takes its time, and goes on') yield chunk
    }
    let text = ''
    const stream = server.manager.trackAI('s', {}, chunks(), { text: true, throttleMs })
    for await (const chunk of stream) {
      text += chunk
      server.clock.advance(900)
    }
    const messages = peer.take()
    const progresses = messages.filter(({ type }) => type === 'ai_progress').map(({ progress }) => progress as { delta: string, offset: number })
    t.match(messages.at(-1), { type: 'ai_complete', result: { chunks: text.length, contentLength: text.length } }, `each ${throttleMs} ms`)
    t.notOk(messages.some(({ type }) => type === 'ai_error'), 'it did not count as stalled')
    t.equal(progresses.map(({ delta }) => delta).join(''), text)
    t.equal(progresses.at(-1)!.offset + progresses.at(-1)!.delta.length, text.length)
    if (throttleMs === Infinity) t.same(progresses.map(({ offset }) => offset), [0, 1], 'one for the first chunk, and one for the rest')
    server.clock.advance(5_000)
    t.same(peer.take(), [], 'nothing follows its end')
  }
})

t.test('a tracked job stalls when its chunks stop, even with a longer throttle', async (t) => {
  const server = createServer({ jobs: { stallAfterMs: 1_000 } })
  const peer = await server.connect({ sessionId: 's' })
  let go: (chunk: string) => void = () => undefined
  async function* chunks (): AsyncGenerator<string> {
    yield* ['One ', 'two ']
    yield new Promise<string>((resolve) => { go = resolve })
  }
  const stream = server.manager.trackAI('s', {}, chunks(), { text: true, throttleMs: Infinity })
  await stream.next()
  server.clock.advance(600)
  await stream.next()
  const third = stream.next()
  server.clock.advance(999)
  t.same(peer.take().map(({ type }) => type), ['ai_start', 'ai_progress'])
  server.clock.advance(1)
  t.match(peer.take(), [{ type: 'ai_error', error: { type: 'stalled' } }])
  await new Promise(setImmediate)
  go('three')
  await third
  t.equal((await stream.next()).done, true)
  t.match(peer.take(), [
    { type: 'ai_progress', progress: { delta: 'two three', offset: 4 } }, { type: 'ai_complete', supersedes: true }
  ], 'and its real end follows')
})

t.test('keepAlive of a handle sends no message', async (t) => {
  const server = createServer({ jobs: { stallAfterMs: 1_000 } })
  const peer = await server.connect({ sessionId: 's' })
  const job = server.manager.startAI('s', {})
  for (let i = 0; i < 5; i++) {
    server.clock.advance(900)
    job.keepAlive()
  }
  t.same(peer.take().map(({ type }) => type), ['ai_start'])
  await job.complete({})
  job.keepAlive()
  server.clock.advance(5_000)
  t.same(peer.take().map(({ type }) => type), ['ai_complete'])
  const broken = server.manager.startAI('s', { n: 1n })
  broken.keepAlive()
  await t.rejects(broken.started)
  broken.keepAlive()
  t.equal(server.notifier.watched('s', broken.jobId), undefined, 'a job that could not start is not watched')
})

t.test('the default stall timeout is ten minutes for every kind of job', async (t) => {
  const server = createServer()
  const peer = await server.connect({ sessionId: 's' })
  void server.manager.notifyAIStart('s', {}, { jobId: 'started' })
  void server.manager.notifyAIProgress('s', {}, { jobId: 'progressed' })
  server.manager.startAI('s', {}, { jobId: 'handled' })
  server.manager.trackAI('s', {}, [], { jobId: 'tracked' })
  server.clock.advance(10 * 60_000 - 1)
  t.notOk(peer.take().some(({ type }) => type === 'ai_error'))
  server.clock.advance(1)
  t.match(peer.take(), ['started', 'progressed', 'handled', 'tracked'].map((jobId) => ({ type: 'ai_error', jobId, error: { type: 'stalled' } })))
})

t.test('a failed report of a stall is repeated with growing delays until it succeeds', async (t) => {
  const clock = new FakeClock()
  const at: number[] = []
  let fails = true
  const watchdog = new Watchdog({
    clock,
    stallAfterMs: 1_000,
    onStall: async () => {
      at.push(clock.monotonic())
      await Promise.resolve()
      if (fails) throw new Error('the broker is away')
    }
  })
  watchdog.keepAlive('s', 'j')
  for (let i = 0; i < 400; i++) {
    clock.advance(1_000)
    await turn()
  }
  const pauses = at.slice(1).map((time, index) => time - at[index]!)
  t.same(pauses, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000, 60_000, 60_000])
  fails = false
  const tries = at.length
  for (let i = 0; i < 400; i++) {
    clock.advance(1_000)
    await turn()
  }
  t.equal(at.length, tries + 1, 'and then never again')
  t.equal(clock.pending, 0)
})

t.test('a report of a stall that throws or is never answered is repeated too', async (t) => {
  for (const onStall of [() => { throw new Error('no') }, () => new Promise<void>(() => undefined)]) {
    const clock = new FakeClock()
    let tries = 0
    const watchdog = new Watchdog({
      clock,
      stallAfterMs: 1_000,
      onStall: () => {
        tries++
        return onStall()
      }
    })
    watchdog.keepAlive('s', 'j')
    for (let i = 0; i < 40; i++) {
      clock.advance(1_000)
      await turn()
    }
    t.ok(tries >= 2 && tries <= 7, `${tries} times in 40 s`)
    watchdog.stop()
    clock.advance(60_000)
    await turn()
    t.equal(clock.pending, 0, 'not after stop')
  }
})

t.test('a job that reports while its stall is in flight is watched as usual', async (t) => {
  const clock = new FakeClock()
  const at: number[] = []
  let fail: (error: Error) => void = () => undefined
  const watchdog = new Watchdog({
    clock,
    stallAfterMs: 10_000,
    onStall: () => {
      at.push(clock.monotonic())
      return new Promise((_resolve, reject) => { fail = reject })
    }
  })
  watchdog.keepAlive('s', 'a')
  watchdog.keepAlive('s', 'b')
  clock.advance(10_000)
  t.same(at, [10_000, 10_000])
  clock.advance(5_000)
  watchdog.keepAlive('s', 'b')
  fail(new Error('the broker is away'))
  await turn()
  clock.advance(9_999)
  t.equal(at.length, 2)
  clock.advance(1)
  t.same(at, [10_000, 10_000, 25_000])
})

t.test('a failed report does not wait until the next job is due', async (t) => {
  const clock = new FakeClock()
  const at: string[] = []
  const watchdog = new Watchdog({
    clock,
    stallAfterMs: 10_000,
    onStall: ({ jobId }) => {
      at.push(`${jobId} ${clock.monotonic()}`)
      return jobId === 'a' && at.length === 1 ? Promise.reject(new Error('the broker is away')) : undefined
    }
  })
  watchdog.keepAlive('s', 'a')
  clock.advance(5_000)
  watchdog.keepAlive('s', 'b')
  clock.advance(5_000)
  await turn()
  clock.advance(5_000)
  t.same(at, ['a 10000', 'a 11000', 'b 15000'])
  t.equal(clock.pending, 0)
})

t.test('a stalled job ends even if the broker was down at first', async (t) => {
  const server = createFarServer({ jobs: { stallAfterMs: 1_000 } })
  const peer = await server.connect({ sessionId: 's' })
  const job = server.manager.startAI('s', {})
  server.broker.answer()
  await turn()
  peer.take()
  server.clock.advance(1_000)
  for (const pauseMs of [50, 100]) {
    server.broker.fail('publish session:s')
    await turn()
    server.clock.advance(pauseMs - 1)
    t.same(server.broker.waiting, [])
    server.clock.advance(1)
  }
  server.broker.answer('publish session:s')
  await turn()
  t.match(peer.take(), [{ type: 'ai_error', jobId: job.jobId, error: { type: 'stalled' } }])
  server.clock.advance(600_000)
  t.same(server.broker.waiting, [], 'once')
})

t.test('a job whose start the broker rejected ends as stalled', async (t) => {
  // Like a worker: whether the broker accepted the start is unknown.
  const server = createFarServer({ jobs: { stallAfterMs: 1_000 } })
  const peer = await server.connect({ sessionId: 's' })
  void server.manager.notifyAIStart('s', {}, { jobId: 'started' })
  server.broker.fail()
  await turn()
  server.clock.advance(1_000)
  server.broker.answer()
  await turn()
  t.match(peer.take(), [{ jobId: 'started', error: { type: 'stalled' } }])
})

t.test('close repeats failed reports of interrupted jobs until its timeout, each independently', async (t) => {
  const server = createFarServer({ closeTimeoutMs: 2_000 })
  const peer = await server.connect({ sessionId: 's' })
  server.manager.startAI('s', {}, { jobId: 'a' })
  server.manager.startAI('s', {}, { jobId: 'b' })
  server.broker.answer()
  await turn()
  peer.take()
  let isClosed = false
  void server.manager.close().then(() => { isClosed = true })
  await turn()
  t.same(server.broker.waiting, ['publish session:s', 'publish session:s'])
  server.broker.fail('publish session:s')
  server.broker.answer('publish session:s')
  await turn()
  t.match(peer.take(), [{ type: 'ai_error', jobId: 'b', error: { type: 'interrupted' } }])
  server.clock.advance(50)
  await turn()
  t.equal(isClosed, false)
  server.broker.answer('publish session:s')
  await turn()
  t.match(peer.take(), [{ type: 'ai_error', jobId: 'a', error: { type: 'interrupted' } }])
  t.equal(isClosed, true)
})

t.test('close gives up at its timeout', async (t) => {
  for (const answers of ['failed', 'never'] as const) {
    const server = createFarServer({ closeTimeoutMs: 2_000 })
    server.manager.startAI('s', {}, { jobId: 'a' })
    server.broker.answer()
    await turn()
    // A report that the broker never answers does not prevent the report of the interruption.
    void server.manager.broadcast({ type: 'hangs' })
    server.broker.calls.splice(0)
    const closed = server.manager.close()
    let tries = 0
    let isClosed = false
    void closed.then(() => { isClosed = true })
    for (let ms = 0; ms < 2_000; ms += 10) {
      server.clock.advance(10)
      await turn()
      tries += server.broker.calls.length
      if (answers === 'failed') server.broker.fail()
      else server.broker.calls.splice(0)
      await turn()
    }
    t.equal(isClosed, true)
    t.equal(await closed, TIMED_OUT, 'and returns that, for the log')
    if (answers === 'failed') t.ok(tries > 3 && tries < 8, `${tries} tries`)
    else t.equal(tries, 1)
  }
})

t.test('a tracked job whose reader stops reading stalls, and its source is closed', async (t) => {
  const server = createServer({ jobs: { stallAfterMs: 1_000 } })
  const peer = await server.connect({ sessionId: 's' })
  const controller = new AbortController()
  let isReleased = false
  async function* chunks (): AsyncGenerator<string> {
    try {
      yield* ['One ', 'two ', 'three']
    } finally {
      isReleased = true
    }
  }
  const stream = server.manager.trackAI('s', {}, Object.assign(chunks(), { controller }), { text: true })
  await stream.next()
  server.clock.advance(999)
  t.equal(controller.signal.aborted, false)
  server.clock.advance(1)
  t.match(peer.take().map(({ type }) => type), ['ai_start', 'ai_progress', 'ai_error'])
  await turn()
  t.equal(controller.signal.aborted, true, 'the request to the model is aborted')
  t.equal(isReleased, true)
  await t.rejects(stream.next(), { code: 'AICW_ERR_STALLED' }, 'a reader that continues gets an error instead of a partial text')
  t.match(await stream.next(), { done: true })
  server.clock.advance(10_000)
  t.same(peer.take(), [])

  const never = server.manager.trackAI('s', {}, chunks(), { jobId: 'never read' })
  server.clock.advance(1_000)
  t.match(peer.take().at(-1), { type: 'ai_error', jobId: 'never read', error: { type: 'stalled' } })
  await t.rejects(never.next(), { code: 'AICW_ERR_STALLED' })
})

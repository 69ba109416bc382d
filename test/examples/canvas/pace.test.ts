import t from 'tap'
import { paced, type Clock } from '../../../examples/canvas/agents/pace.js'

/** Returns a clock that advances when the code sleeps. */
function quickClock (): Clock {
  let now = 0
  return { now: () => now, async sleep (ms) { now += ms } }
}

async function * source (...texts: string[]): AsyncGenerator<string> {
  yield * texts
}

async function read (texts: AsyncIterable<string>): Promise<string[]> {
  const pieces: string[] = []
  for await (const piece of texts) pieces.push(piece)
  return pieces
}

const SENTENCE = 'The connection drops, and the text goes on where it was. '

t.test('a text takes the configured time, in pieces of a few words, and nothing is lost', async (t) => {
  for (const repeats of [60, 150, 300]) {
    const clock = quickClock()
    const pieces = await read(paced(source(SENTENCE.repeat(repeats)), { seconds: 15, clock }))
    t.equal(pieces.join(''), SENTENCE.repeat(repeats))
    t.ok(clock.now() > 13_000 && clock.now() < 17_000, `${clock.now()} ms`)
    t.ok(Math.max(...pieces.map(({ length }) => length)) < 100, 'no piece is a paragraph')
    t.ok(pieces.every((piece) => /^\s*\S+/.test(piece) || piece.trim() === ''), 'a piece begins with a whole word')
  }
})

t.test('a short text is not slow, and a long one is not too fast', async (t) => {
  const short = quickClock()
  await read(paced(source(SENTENCE), { seconds: 15, clock: short }))
  t.ok(short.now() < 1_500, `${short.now()} ms`)
  const long = quickClock()
  await read(paced(source(SENTENCE.repeat(2_000)), { seconds: 15, clock: long }))
  t.ok(long.now() > 60_000, `${long.now()} ms`)
})

t.test('the first word is not delayed, and a slow source is waited for', async (t) => {
  let go = (): void => undefined
  const wait = new Promise<void>((resolve) => { go = resolve })
  const clock = quickClock()
  const texts = paced((async function * () {
    yield '# Title\n'
    await wait
    yield 'The rest.'
  })(), { seconds: 15, clock })
  t.same(await texts.next(), { done: false, value: '#' })
  t.equal(clock.now(), 0)
  t.same(await texts.next(), { done: false, value: ' Title\n' })
  go()
  t.equal((await read(texts)).join(''), 'The rest.')
})

t.test('no character is split, and an endless word is', async (t) => {
  const text = '👋'.repeat(500)
  const pieces = await read(paced(source(text), { seconds: 1, clock: quickClock() }))
  t.equal(pieces.join(''), text)
  t.ok(pieces.length > 5)
  t.ok(pieces.every((piece) => !/[\ud800-\udbff]$/.test(piece)))
})

t.test('the source\'s error comes after its text', async (t) => {
  const pieces: string[] = []
  await t.rejects(async () => {
    const texts = paced((async function * () {
      yield 'before '
      throw new TypeError('no more')
    })(), { seconds: 1, clock: quickClock() })
    for await (const piece of texts) pieces.push(piece)
  }, { name: 'TypeError', message: 'no more' })
  t.equal(pieces.join(''), 'before ')
})

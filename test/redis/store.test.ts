import t from 'tap'
import { defaults } from '../../lib/options.js'
import { Keys } from '../../lib/redis/keys.js'
import type { Link } from '../../lib/redis/link.js'
import { encode } from '../../lib/redis/publish-queue.js'
import { bytes, list, optionalText } from '../../lib/redis/replies.js'
import { Store } from '../../lib/redis/store.js'
import { PublicationFactory } from '../../lib/streams/kept-publication.js'
import { FakeClock } from '../support/fake-clock.js'

const silent = (): void => undefined
const log = { debug: silent, info: silent, warn: silent, error: silent }

/** A store whose Redis gives the replies of a list, one for each call of a function. */
function createStore (replies: Record<string, unknown[]>, stallAfterMs = 1_000): { store: Store, calls: string[] } {
  const calls: string[] = []
  const link = {
    call: (command: string, [name, , ...args]: readonly unknown[]) => {
      const kind = String(command === 'FCALL' ? String(name).split('_').at(-1) : command)
      calls.push([kind, ...args.slice(3)].join(' '))
      return Promise.resolve(replies[kind]?.shift())
    }
  }
  const settings = { history: defaults.history, maxTextUnits: 1_000, stallAfterMs, clock: new FakeClock(), log }
  return { store: new Store(link as unknown as Link, new Keys('p'), 'node', settings), calls }
}

const buffer = (value: string): Buffer => Buffer.from(value)
const frame = (seq: number): Buffer => buffer(`e ${seq} ${seq} 600 1 0\n{"n":${seq}}`)
const utf16 = (value: string): Buffer => Buffer.from(value, 'utf16le')

t.test('a join whose messages are discarded while they are read is repeated, at most twice', async (t) => {
  const partial = (): unknown[] => [buffer('e'), 3, 3, buffer(''), 3, [frame(1)]]
  const { store, calls } = createStore({ join: [partial(), [buffer('e'), 3, 3, buffer('expired'), 0, []]], messages: [[]] })
  t.match(await store.join('all', { epoch: 'e', seq: 0 }), { recovered: false, reason: 'expired', replay: [] })
  t.same(calls.map((call) => call.split(' ')[0]), ['join', 'messages', 'join'])
  const { store: never } = createStore({ join: [partial(), partial(), partial()], messages: [[], [], []] })
  await t.rejects(never.join('all', { epoch: 'e', seq: 0 }), { message: /the messages of all were discarded while they were read/ })
})

t.test('the rest of the messages is read from where the last reply ended', async (t) => {
  const { store, calls } = createStore({ join: [[buffer('e'), 4, 4, buffer(''), 3, [frame(2)]]], messages: [[frame(3)], [frame(4)]] })
  const { replay } = await store.join('all', { epoch: 'e', seq: 1 })
  t.same(replay.map(({ seq }) => seq), [2, 3, 4])
  t.same(calls.slice(1), ['messages e 3 4', 'messages e 4 4'])
})

t.test('a part of a text that is discarded while it is read is missing in the result', async (t) => {
  const { store, calls } = createStore({ join: [[buffer('e'), 0, 3, buffer('new'), 0, [], [buffer('j'), 2, buffer('{}'), 9, 0, utf16('abc')]]], text: [[5, utf16('fg')], [7, utf16('hi')]] })
  const { replay: [state] } = await store.join('all')
  t.same([state?.text?.source.slice(0), state?.text?.to], [{ text: 'fghi', offset: 5, truncated: true }, 9])
  t.same(calls.slice(1), ['text e j 3 9', 'text e j 7 9'])
})

t.test('a position that no broker gave is passed as an invalid one', async (t) => {
  const result = (): unknown[] => [buffer('e'), 0, 0, buffer('restarted'), 0, []]
  const { store, calls } = createStore({ join: [result(), result()] }, Infinity)
  await store.join('all', { epoch: '', seq: 1.5 })
  await store.join('all', { epoch: 'e', seq: Infinity })
  t.same(calls, ['join - -1 600000', 'join e -1 600000'])
})

t.test('a server that does not say its run_id always counts as the same', async (t) => {
  const { store } = createStore({ INFO: [buffer('redis_version:7.0.0'), buffer('')], hello: [[buffer('g'), 1], [buffer('g'), 0]] })
  t.equal(await store.greet(), false)
  t.equal(await store.greet(), false)
  t.equal(store.generation, 'g')
})

t.test('a report that is too large to keep is sent with its short form, if it has one', (t) => {
  const options = { factory: new PublicationFactory({ maxMessageBytes: 20_000 }), maxBytes: 20_000, maxPlainBytes: 20_000 }
  const body = JSON.stringify({ ballast: 'x'.repeat(20_000) })
  const job = { event: 'complete', jobId: 'j', ownership: '1 a', chunks: 2 } as const
  t.same(encode(body, { durable: true, job }, options).filter((arg) => arg !== body), ['c', '00010101', 'j', 2, '', '', 60_645, '1 a'].map((arg) => arg === 60_645 ? 576 + 3 * body.length + 3 : arg))
  const withShortForm = encode(body, { durable: true, job, shortForm: () => '{}' }, options)
  t.same([withShortForm[1], withShortForm.slice(-3)], ['00010121', ['1 a', '{}', 576 + 6 + 3]])
  t.same(encode('{}', { durable: false, job: { event: 'start', presumed: true, repeated: true } }, options)[1], '11000010')
  t.same(encode('{}', { durable: true, counter: 7 }, options).slice(0, 3), ['k', 7, 'd'])
  t.equal(encode(body, { durable: true }, options)[0], 'n')
  t.end()
})

t.test('the log of revocations may be empty or not', async (t) => {
  const { store } = createStore({ XREVRANGE: [[], [[buffer('5-0'), [buffer('m'), buffer('{}')]]]] })
  t.same([await store.endOfLog(), await store.endOfLog()], ['0-0', '5-0'])
})

t.test('the frames of a snapshot may be durable or not, and may supersede an end', async (t) => {
  const { store } = createStore({ join: [[buffer('e'), 1, 3, buffer('new'), 0, [], buffer('e 2 0 400 8 1\nj{}'), buffer('e 3 1 600 27 1\nj{}')]] })
  const { replay } = await store.join('all')
  t.match(replay, [{ durable: false, seq: undefined, jobId: 'j', supersedes: undefined }, { durable: true, seq: 1, jobId: 'j', supersedes: true }])
})

t.test('replies that are not what was expected are read as empty', (t) => {
  t.same([list(null), bytes('text').toString(), bytes(1).toString(), optionalText(undefined), optionalText(null)], [[], 'text', '', undefined, undefined])
  t.end()
})

import t from 'tap'
import { explained, Functions, OutdatedError } from '../../lib/redis/functions.js'
import type { Link } from '../../lib/redis/link.js'
import { PublishQueue, type PublishQueueOptions } from '../../lib/redis/publish-queue.js'
import { functionName, LIBRARY } from '../../lib/redis/lua/library.js'
import { SharedCalls } from '../../lib/redis/shared-calls.js'

interface Call { readonly streams: readonly string[], readonly args: readonly unknown[] }

function createQueue (options: Partial<PublishQueueOptions> = {}): { queue: PublishQueue, calls: Call[] } {
  const calls: Call[] = []
  const queue = new PublishQueue({
    renewMs: 1_000,
    now: () => 0,
    explain: (error) => new Error(`explained ${error}`),
    send: (streams, args) => {
      calls.push({ streams, args })
      const count = args.filter((arg) => arg === 'e').length
      return Promise.resolve(count === 1 ? Buffer.from('x 1 0') : Array.from({ length: count }, (_, at) => Buffer.from(`x ${at + 1} 0`)))
    },
    ...options
  })
  return { queue, calls }
}

t.test('the messages of a tick share a call, in the order in which they were added', async (t) => {
  const { queue, calls } = createQueue()
  const results = await Promise.all([queue.add('session:a', ['e', '1']), queue.add('session:a', ['e', '2']), queue.add('session:b', ['e', '3']), queue.add('session:a', ['e', '4'])])
  t.same(calls, [{ streams: ['session:a', 'session:b', 'session:a'], args: ['g', 'session:a', 'r', 'e', '1', 'e', '2', 'g', 'session:b', 'r', 'e', '3', 'g', 'session:a', 'e', '4'] }])
  t.same(results.map(({ revision }) => revision), [1, 2, 3, 4])
  t.same(results[0], { revision: 1, published: { epoch: 'x', seq: 0 } })
})

t.test('a call takes at most 32 messages and 256 KiB, but any single message', async (t) => {
  const { queue, calls } = createQueue()
  await Promise.all(Array.from({ length: 70 }, (_, at) => queue.add('session:a', ['e', at])))
  t.same(calls.map(({ args }) => args.filter((arg) => arg === 'e').length), [32, 32, 6])
  calls.length = 0
  const large = 'x'.repeat(100_000)
  await Promise.all([large, large, large, 'x'.repeat(400_000), large].map((body) => queue.add('session:a', ['e', body])))
  t.same(calls.map(({ args }) => args.filter((arg) => arg === 'e').length), [2, 1, 1, 1])
})

t.test('flush sends at once, and what is added later has a call of its own', async (t) => {
  const { queue, calls } = createQueue()
  const first = queue.add('session:a', ['e', '1'])
  queue.flush()
  t.equal(calls.length, 1)
  await Promise.all([first, queue.add('session:a', ['e', '2'])])
  t.equal(calls.length, 2)
})

t.test('lifetimes are renewed when it is due, after a failure, after lost history, and for streams that are not remembered', async (t) => {
  let now = 0
  let isBroken = false
  const { queue, calls } = createQueue({ now: () => now })
  const { queue: broken } = createQueue({ send: (_streams, args) => isBroken ? Promise.reject(new Error('cut')) : Promise.resolve(Buffer.from(`x ${args.includes('r') ? 1 : 0} 0`)) })
  const isRenewed = async (stream: `session:${string}`): Promise<boolean> => {
    calls.length = 0
    await queue.add(stream, ['e', ''])
    return calls[0]!.args.includes('r')
  }
  t.equal(await isRenewed('session:a'), true)
  now = 999
  t.equal(await isRenewed('session:a'), false)
  now = 1_000
  t.equal(await isRenewed('session:a'), true)
  t.equal(await isRenewed('session:a'), false)
  queue.forgetRenewals()
  t.equal(await isRenewed('session:a'), true)
  await Promise.all(Array.from({ length: 10_000 }, (_, at) => queue.add(`session:${at}`, ['e', ''])))
  t.equal(await isRenewed('session:a'), true, 'only the latest 10,000 are remembered')
  t.equal((await broken.add('session:a', ['e', ''])).revision, 1)
  t.equal((await broken.add('session:a', ['e', ''])).revision, 0)
  isBroken = true
  await t.rejects(Promise.all([broken.add('session:a', ['e', '']), broken.add('session:a', ['e', ''])]), { message: 'cut' })
  isBroken = false
  t.equal((await broken.add('session:a', ['e', ''])).revision, 1, 'whether the renewal has happened is unknown')
})

t.test('a message that failed rejects, and the others of its call resolve', async (t) => {
  const { queue } = createQueue({ send: () => Promise.resolve(['x 1 1', '!WRONGTYPE', 'x 2 2 0 -1 - a job', 'x 0 2 1 5 gap '].map((result) => Buffer.from(result))) })
  const results = await Promise.allSettled(Array.from({ length: 4 }, () => queue.add('all', ['e', ''])))
  t.match(results, [
    { value: { revision: 1, published: { epoch: 'x', seq: 1 } } },
    { reason: { message: 'explained WRONGTYPE' } },
    { value: { revision: 2, published: { seq: 2, kept: false, jobId: 'a job' } } },
    { value: { revision: 0, published: { seq: 2, dropped: 'gap', textEnd: 5 } } }
  ])
})

// The library -----------------------------------------------------------------------------------------------------------------

/** A link whose replies are given by hand. */
function fakeLink (): { link: Link, sent: string[], reply: (value: unknown) => void } {
  const [sent, waiting]: [string[], Array<{ resolve: (value: unknown) => void, reject: (error: Error) => void }>] = [[], []]
  const link = {
    call: (command: string, args: readonly unknown[]) => {
      sent.push(command === 'FCALL' ? String(args.at(-1)) : `${command} ${args[1] === LIBRARY ? String(args[0]) : args.join(' ')}`)
      return new Promise((resolve, reject) => { waiting.push({ resolve, reject }) })
    }
  }
  return {
    link: link as unknown as Link,
    sent,
    reply: (value) => {
      const { resolve, reject } = waiting.shift()!
      if (value instanceof Error) reject(value)
      else resolve(value)
    }
  }
}

const missing = (): Error => new Error('ERR Function not found')
const turn = (): Promise<void> => new Promise((resolve) => { setImmediate(resolve) })

t.test('if the library is missing it is loaded once, and the calls that were not executed are repeated in their order', async (t) => {
  const { link, sent, reply } = fakeLink()
  const functions = new Functions(link, 'p')
  const call = (name: string): Promise<unknown> => functions.run('publish', [], [name])
  const results = [call('a'), call('b')]
  reply(missing())
  await turn()
  results.push(call('c'))
  reply(missing())
  await turn()
  t.same(sent, ['a', 'b', 'FUNCTION LOAD'])
  reply('ok')
  await turn()
  t.same(sent.slice(3), ['a', 'b', 'c'])
  for (const value of [1, 2, 3]) reply(value)
  t.same(await Promise.all(results), [1, 2, 3])
})

t.test('another node may have loaded the library meanwhile, or loading may fail', async (t) => {
  const { link, reply } = fakeLink()
  const functions = new Functions(link, 'p')
  const load = async (reply: (value: unknown) => void, loaded: Error): Promise<void> => {
    reply(missing())
    await turn()
    reply(loaded)
    await turn()
  }
  const result = functions.run('publish', [], [])
  await load(reply, new Error('ERR Library \'x\' already exists'))
  reply(1)
  t.equal(await result, 1)
  for (const [message, expected] of [['NOPERM no permissions', /its README/], ['cut', 'cut']] as const) {
    const rejected = t.rejects(functions.run('publish', [], []), { message: expected })
    await load(reply, new Error(message))
    await rejected
  }
})

t.test('errors of Redis name the fix', async (t) => {
  const { link, reply } = fakeLink()
  const functions = new Functions(link, 'app:1:')
  for (const [message, expected] of [['AICWGEN x', /lost history/], ['WRONGTYPE x', /app:1:.*another type/], ['OOM command not allowed', /maxmemory/], ['other', /^other$/]] as const) {
    const result = functions.call('GET', ['x'])
    reply(new Error(message))
    await t.rejects(result, { message: expected })
  }
  t.match(explained('a text', 'p'), { message: 'a text' })
  const outdated = functions.run('join', [], [])
  reply(new Error('AICWGEN x'))
  t.ok(await outdated.catch((error: unknown) => error) instanceof OutdatedError)
})

t.test('the names of the functions contain the name of the library, which is new for each version', async (t) => {
  const [, name = ''] = /^#!lua name=(aicw_1_[0-9a-f]{10})\n/.exec(LIBRARY) ?? []
  t.equal(functionName('publish'), `${name}_publish`)
})

// Joins -----------------------------------------------------------------------------------------------------------------------

t.test('equal calls share a result if it is not older than the question', async (t) => {
  const calls = new SharedCalls<number>()
  const settle: Array<(value: number | Error) => void> = []
  const call = (): Promise<number> => new Promise((resolve, reject) => {
    settle.push((value) => {
      if (value instanceof Error) reject(value)
      else resolve(value)
    })
  })
  const first = [calls.get('a', call), calls.get('a', call)]
  const other = calls.get('b', call)
  await turn()
  t.equal(settle.length, 2, 'one call for each kind')
  const second = [calls.get('a', call), calls.get('a', call)]
  await turn()
  t.equal(settle.length, 2, 'the first may be older than the question')
  const rejected = first.map((result) => t.rejects(result, { message: 'cut' }))
  settle[0]!(new Error('cut'))
  settle[1]!(2)
  t.equal(await other, 2)
  await Promise.all(rejected)
  await turn()
  t.equal(settle.length, 3)
  settle[2]!(3)
  t.same(await Promise.all(second), [3, 3])
  const third = calls.get('a', call)
  await turn()
  settle[3]!(4)
  t.equal(await third, 4)
})

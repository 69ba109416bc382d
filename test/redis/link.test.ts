import { EventEmitter } from 'node:events'
import t from 'tap'
import type { RedisClient } from '../../lib/redis/client.js'
import { Link, NotSentError } from '../../lib/redis/link.js'
import { FakeClock } from '../support/fake-clock.js'

/** A client of Redis whose connection is made and lost by hand. */
class FakeClient extends EventEmitter {
  readonly writes: string[] = []
  readonly #stream = { writable: true, cork: () => { this.writes.push('cork') }, uncork: () => { this.writes.push('uncork') } }
  isDisconnected = false
  isConnected = false
  settle: (error?: Error) => void = () => undefined
  readonly replies: Array<{ resolve: (reply: unknown) => void, reject: (error: unknown) => void }> = []

  /** There is none before the client is connected, whatever its type says. */
  get stream (): { writable: boolean } {
    return (this.isConnected ? this.#stream : undefined) as { writable: boolean }
  }

  connect (): Promise<void> {
    return new Promise((resolve, reject) => {
      this.settle = (error) => {
        this.isConnected = error === undefined
        if (error === undefined) resolve()
        else reject(error)
      }
    })
  }

  disconnect (): void {
    this.isDisconnected = true
  }

  callBuffer (command: string): Promise<unknown> {
    this.writes.push(command)
    return new Promise((resolve, reject) => { this.replies.push({ resolve, reject }) })
  }
}

const turn = (): Promise<void> => new Promise((resolve) => { setImmediate(resolve) })

function createLink (): { link: Link, clock: FakeClock, clients: FakeClient[], events: string[] } {
  const [clock, clients, events]: [FakeClock, FakeClient[], string[]] = [new FakeClock(), [], []]
  const link = new Link({
    clock,
    createClient: () => {
      const client = new FakeClient()
      clients.push(client)
      return client as unknown as RedisClient
    },
    onMessage: (_channel, message) => { events.push(`message: ${message.toString()}`) },
    onUp: () => { events.push('up') },
    onDown: (reason) => { events.push(`down: ${reason}`) }
  })
  return { link, clock, clients, events }
}

async function openLink (): Promise<ReturnType<typeof createLink> & { client: FakeClient }> {
  const opened = createLink()
  const open = opened.link.open()
  const client = opened.clients[0]!
  client.settle()
  await open
  return { ...opened, client }
}

t.test('the commands of a tick leave in one write', async (t) => {
  const { link, client } = await openLink()
  const results = [link.call('a', []), link.call('b', [])]
  await turn()
  void link.call('c', [])
  await turn()
  t.same(client.writes, ['cork', 'a', 'b', 'uncork', 'cork', 'c', 'uncork'])
  client.replies[0]!.resolve(1)
  client.replies[1]!.reject('a reason that is no error')
  t.equal(await results[0], 1)
  await t.rejects(results[1]!, { message: 'a reason that is no error' })
})

t.test('a command without a reply is rejected at its deadline, and too many bytes without replies are refused', async (t) => {
  const { link, clock, client } = await openLink()
  const late = t.rejects(link.call('slow', ['x', 1, Buffer.from('y')]), { message: /did not answer within 5000 ms/ })
  clock.advance(3_000)
  const next = link.call('next', [])
  clock.advance(2_500)
  await late
  await t.rejects(link.call('large', ['x'.repeat(64 * 1024 * 1024)]), { message: /more than 67108864 bytes wait/ })
  client.replies[1]!.resolve('in time')
  t.equal(await next, 'in time')
  clock.advance(5_000)
  t.equal(clock.pending, 0, 'without commands, nothing is checked')
})

t.test('a link that is closed while it connects drops the connection, and rejects what waits', async (t) => {
  const connecting = createLink()
  const opened = connecting.link.open()
  connecting.link.close()
  connecting.clients[0]!.settle()
  await opened
  t.same([connecting.clients[0]!.isDisconnected, connecting.events], [true, []])
  const { link } = await openLink()
  const waiting = t.rejects(link.call('a', []), { message: 'the broker is closed' })
  link.close()
  await waiting
  await t.rejects(link.call('b', []), { message: /the broker is closed/ })
})

t.test('a connection that is lost is made again, at growing intervals, until the link is closed', async (t) => {
  const { link, clock, clients, events, client } = await openLink()
  client.emit('end')
  client.emit('end')
  await t.rejects(link.call('a', []), { message: 'Redis can\'t be reached: the connection was lost' })
  for (let attempt = 1; attempt <= 3; attempt++) {
    clock.advance(2_000)
    t.equal(clients.length, attempt + 1)
    clients[attempt]!.emit('error', new Error(`attempt ${attempt}`))
    clients[attempt]!.emit('end')
    clients[attempt]!.settle(new Error('Connection is closed.'))
    await turn()
  }
  clock.advance(2_000)
  clients[4]!.settle()
  await turn()
  t.same(events, ['up', 'down: the connection was lost', 'up'])
  clients[4]!.emit('end')
  clock.advance(2_000)
  link.close()
  clients[5]!.settle(new Error('closed'))
  await turn()
  clock.advance(10_000)
  t.equal(clients.length, 6)
})

t.test('a link that can\'t connect at first does not try again', async (t) => {
  const { link, clients, clock } = createLink()
  const failed = t.rejects(link.open(), { message: 'Redis can\'t be reached: refused' })
  clients[0]!.settle(new Error('refused'))
  await failed
  clock.advance(10_000)
  t.equal(clients.length, 1)
})

t.test('a server that accepts the connection and does not answer is given up', async (t) => {
  const { link, clients, clock } = createLink()
  const failed = t.rejects(link.open(), { message: 'Redis can\'t be reached: the server did not answer within 5000 ms' })
  clock.advance(5_000)
  t.equal(clients[0]!.isDisconnected, true)
  clients[0]!.settle(new Error('Connection is closed.'))
  await failed
})

t.test('a connection that is dropped takes no commands and no messages before it has ended, and then a new one is made', async (t) => {
  const { link, clock, clients, events, client } = await openLink()
  const waiting = link.call('a', [])
  link.reset('no reply')
  link.reset('no reply, again')
  t.same([link.isUp, client.isDisconnected, events], [false, true, ['up', 'down: no reply']])
  t.type(await link.call('b', []).catch((error: unknown) => error), NotSentError)
  await turn()
  t.same(client.writes, ['cork', 'a', 'uncork'])
  client.emit('messageBuffer', Buffer.from('channel'), Buffer.from('late'))
  client.replies[0]!.resolve('late')
  t.equal(await waiting, 'late', 'a reply that still comes counts')
  clock.advance(10_000)
  t.equal(clients.length, 1, 'it has not ended yet')
  client.emit('end')
  clock.advance(2_000)
  clients[1]!.settle()
  await turn()
  t.same(events, ['up', 'down: no reply', 'up'])
})

t.test('a stream that has ended before the client says so takes no commands', async (t) => {
  const { link, clock, clients, events, client } = await openLink()
  client.stream.writable = false
  t.type(await link.call('a', []).catch((error: unknown) => error), NotSentError)
  await t.rejects(link.call('b', []), { message: 'Redis can\'t be reached: the connection was lost' })
  t.same([client.writes, events], [[], ['up', 'down: the connection was lost']])
  client.emit('end')
  clock.advance(2_000)
  t.equal(clients.length, 2)
  t.type(await link.call('while it connects', []).catch((error: unknown) => error), NotSentError)
})

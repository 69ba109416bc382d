import { AsyncResource } from 'node:async_hooks'
import { randomUUID } from 'node:crypto'
import { EventEmitter } from 'node:events'
import { newJobId } from '../../../lib/streams/job-id.js'
import { JobText } from '../../../lib/streams/job-text.js'
import { StreamJob } from '../../../lib/streams/stream-job.js'
import { LruList, type LruItem } from '../../../lib/streams/lru-list.js'
import { bound } from '../../../lib/util/async-context.js'
import { isoTimestamps, systemClock } from '../../../lib/util/clock.js'
import { text } from '../payload.js'
import { Checksum, type Part, type Subject } from './part.js'
import { PlainText, SetList } from './plain.js'
import { messages } from './server.js'

const SESSIONS = 10_000
/** How often a round repeats a load that is short. */
const REPEATS = 10

interface ListedItem<L> { list: L | undefined }
interface List<T> {
  readonly oldest: T | undefined
  add (item: T): void
}

class Linked implements LruItem<Linked> {
  readonly id: number
  list: LruList<Linked> | undefined = undefined
  older: Linked | undefined = undefined
  younger: Linked | undefined = undefined
  constructor (id: number) { this.id = id }
}

class InSet implements ListedItem<SetList<InSet>> {
  readonly id: number
  list: SetList<InSet> | undefined = undefined
  constructor (id: number) { this.id = id }
}

/** Each message moves its stream to the end of the list. */
function used<T extends { id: number }> (create: (id: number) => T, list: List<T>): Subject {
  const items = Array.from({ length: SESSIONS }, (_, id) => create(id))
  for (const item of items) list.add(item)
  return {
    run () {
      const check = new Checksum()
      for (let turn = 0; turn < 100; turn++) {
        for (const item of items) list.add(item)
        check.add(list.oldest?.id ?? -1)
      }
      return check.value
    }
  }
}

/** Each message moves its stream to the fresh ones, and the least recently used of these to the trimmed ones. */
function evicted<T extends { id: number }> (create: (id: number) => T, fresh: List<T>, trimmed: List<T>): Subject {
  const items = Array.from({ length: 200_000 }, (_, id) => create(id))
  for (const item of items) (item.id < 160_000 ? trimmed : fresh).add(item)
  return {
    run () {
      const check = new Checksum()
      for (const item of items) {
        fresh.add(item)
        const { oldest } = fresh
        if (oldest === undefined) continue
        check.add(oldest.id)
        trimmed.add(oldest)
      }
      return check.value
    }
  }
}

/** Starts jobs. Nobody is subscribed, so their ids are not written into messages yet. */
function named (create: () => string): Subject {
  const kept = new Map<string, string>()
  return {
    run () {
      const check = new Checksum()
      for (let turn = 0; turn < REPEATS; turn++) {
        for (let at = 0; at < SESSIONS; at++) {
          const id = create()
          check.add(id.length)
          kept.set(`session-${at}`, id)
        }
      }
      return check.value
    }
  }
}

/** Subscribes connections to the streams of a user and a session. */
function subscribed (add: (channels: readonly object[], channel: object) => readonly object[]): Subject {
  const channels = [{}, {}]
  let kept: unknown[] = []
  return {
    run () {
      for (let turn = 0; turn < REPEATS; turn++) {
        kept = Array.from({ length: SESSIONS }, () => channels.reduce<readonly object[]>((own, channel) => add(own, channel), []))
      }
      return kept.length
    }
  }
}

/** Stamps ten messages per millisecond. */
function stamped (create: (now: () => number) => () => string): Subject {
  let calls = 0
  const timestamp = create(() => 1_700_000_000_000 + Math.floor(calls++ / 10))
  return {
    run () {
      const check = new Checksum()
      for (let at = 0; at < 100_000; at++) check.add(timestamp())
      return check.value
    }
  }
}

/** Keeps the texts of jobs, in pieces that are slices of what the network delivered. */
function written (create: () => { append: (piece: string) => void, units: number }): Subject {
  let jobs: Array<ReturnType<typeof create>> = []
  return {
    run () {
      const check = new Checksum()
      for (let turn = 0; turn < REPEATS; turn++) {
        jobs = Array.from({ length: 100 }, create)
        for (const [at, job] of jobs.entries()) {
          for (let n = 0; n < 20; n++) {
            const chunk = Buffer.from(text(1_000, at + n)).toString('latin1')
            for (let from = 0; from < 600; from += 60) job.append(chunk.slice(from, from + 20))
          }
          check.add(job.units)
        }
      }
      return check.value
    }
  }
}

/** Binds callbacks to the context of their request. */
function inContext (bind: (callback: () => void) => () => void): Subject {
  let calls = 0
  let kept: Array<() => void> = []
  return {
    run () {
      calls = 0
      for (let turn = 0; turn < REPEATS; turn++) {
        kept = Array.from({ length: SESSIONS }, () => bind(() => { calls++ }))
        for (const callback of kept) callback()
      }
      return calls
    }
  }
}

const EVENTS = ['error', 'close', 'ping', 'pong', 'message'] as const
const CLIENT = Symbol('client')

/** Listens to the events of WebSockets. */
function listened (listen: (socket: EventEmitter, client: { received: number }) => void): Subject {
  let sockets: EventEmitter[] = []
  return {
    run () {
      let sum = 0
      for (let turn = 0; turn < REPEATS; turn++) {
        const clients = Array.from({ length: SESSIONS }, () => ({ received: 0 }))
        sockets = clients.map((client) => {
          const socket = new EventEmitter()
          listen(socket, client)
          return socket
        })
        for (const socket of sockets) for (const event of EVENTS.slice(1)) socket.emit(event)
        for (const { received } of clients) sum += received
      }
      return sum
    }
  }
}

function sharedListener (this: EventEmitter & { [CLIENT]?: { received: number } }): void {
  const client = this[CLIENT]
  if (client !== undefined) client.received++
}

export const parts: Readonly<Record<string, Part>> = {
  message: {
    load: 'a progress of one of 10,000 jobs, through the notifier, the broker and the hub, without a network',
    unit: 'message',
    operations: 100_000,
    items: SESSIONS,
    versions: { ours: () => messages() }
  },
  lru: {
    load: '10,000 streams are published to in turn',
    unit: 'message',
    operations: 100 * SESSIONS,
    items: SESSIONS,
    versions: {
      ours: () => used((id) => new Linked(id), new LruList<Linked>()),
      plain: () => used((id) => new InSet(id), new SetList<InSet>())
    }
  },
  'lru-evicting': {
    load: '200,000 streams are published to in turn, and each message evicts another stream',
    unit: 'message',
    operations: 200_000,
    items: 200_000,
    versions: {
      ours: () => evicted((id) => new Linked(id), new LruList<Linked>(), new LruList<Linked>()),
      plain: () => evicted((id) => new InSet(id), new SetList<InSet>(), new SetList<InSet>())
    }
  },
  'latest-progress': {
    load: 'the row message, with the newest progress kept as a string as the plain version',
    unit: 'message',
    operations: 100_000,
    items: SESSIONS,
    versions: {
      ours: () => messages(),
      plain: () => {
        // The patch affects no other version, because each one has its own process.
        StreamJob.prototype.keepProgress = function (latest) { this.progress = latest }
        return messages()
      }
    }
  },
  'job-id': {
    load: '10,000 jobs without subscribers start; their ids are kept',
    unit: 'job',
    operations: REPEATS * SESSIONS,
    items: SESSIONS,
    versions: { ours: () => named(newJobId), plain: () => named(randomUUID) }
  },
  channels: {
    load: '10,000 connections subscribe to two streams each',
    unit: 'connection',
    operations: REPEATS * SESSIONS,
    items: SESSIONS,
    versions: {
      ours: () => subscribed((channels, channel) => channels.concat(channel)),
      plain: () => subscribed((channels, channel) => { (channels as object[]).push(channel); return channels })
    }
  },
  timestamp: {
    load: 'ten messages per millisecond get a timestamp',
    unit: 'message',
    operations: 100_000,
    items: 100_000,
    versions: {
      ours: () => stamped((now) => isoTimestamps({ ...systemClock, now })),
      plain: () => stamped((now) => () => new Date(now()).toISOString())
    }
  },
  'job-text': {
    load: '100 jobs keep 200 pieces of text each, which are slices of chunks of 1,000 bytes',
    unit: 'piece',
    operations: REPEATS * 20_000,
    items: 20_000,
    versions: { ours: () => written(() => new JobText(1_000_000)), plain: () => written(() => new PlainText()) }
  },
  bound: {
    load: '10,000 callbacks are bound to an async context',
    unit: 'callback',
    operations: REPEATS * SESSIONS,
    items: SESSIONS,
    versions: { ours: () => inContext(bound), plain: () => inContext((callback) => AsyncResource.bind(callback)) }
  },
  listeners: {
    load: '10,000 sockets with five listeners each',
    unit: 'connection',
    operations: REPEATS * SESSIONS,
    items: SESSIONS,
    versions: {
      ours: () => listened((socket, client) => {
        Object.assign(socket, { [CLIENT]: client })
        for (const event of EVENTS) socket.on(event, sharedListener)
      }),
      plain: () => listened((socket, client) => {
        for (const event of EVENTS) socket.on(event, () => { client.received++ })
      })
    }
  }
}

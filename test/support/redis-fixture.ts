import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { redisBroker, type RedisTarget } from '../../lib/redis/index.js'
import type { Broker } from '../../lib/streams/broker.js'
import type { BrokerFixture } from '../../lib/testing/fixture.js'
import type { RedisServer } from './redis-server.js'
import { until } from './until.js'

/** A TCP proxy in front of a Redis server. Its connections can be cut. */
export class Line {
  readonly port: number
  readonly #sockets = new Set<Socket>()
  readonly #fromServer = new Set<Socket>()
  /** The sockets of each connection, and whether the node has subscribed on it. */
  readonly #connections = new Set<{ readonly socket: Socket, readonly other: Socket, isSubscriber: boolean }>()
  readonly #held = new Set<Socket>()
  readonly #server: Server
  #isCut = false

  private constructor (server: Server, target: number) {
    this.#server = server
    this.port = (server.address() as AddressInfo).port
    server.on('connection', (socket) => {
      if (this.#isCut) {
        socket.destroy()
        return
      }
      const other = connect(target, '127.0.0.1')
      this.#fromServer.add(other)
      const connection = { socket, other, isSubscriber: false }
      this.#connections.add(connection)
      socket.on('data', (chunk: Buffer) => { connection.isSubscriber ||= /\bsubscribe\r/i.test(chunk.toString('latin1')) })
      other.on('close', () => {
        this.#fromServer.delete(other)
        this.#connections.delete(connection)
      })
      for (const [from, to] of [[socket, other], [other, socket]] as const) {
        this.#sockets.add(from)
        from.setNoDelay(true).pipe(to)
        from.on('error', () => undefined).on('close', () => {
          this.#sockets.delete(from)
          to.destroy()
        })
      }
    })
  }

  static async to (target: number): Promise<Line> {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new Line(server, target)
  }

  cut (): void {
    this.#isCut = true
    for (const socket of this.#sockets) socket.destroy()
  }

  /** Holds back the data that the server sends, as if the node were suspended. */
  stall (): void {
    for (const socket of this.#fromServer) socket.pause()
  }

  /** Stops forwarding on the present connections without closing them, as if the machine of the peer were gone. */
  vanish (which: 'subscriber' | 'both' = 'both'): void {
    for (const connection of this.#connections) {
      const { socket, other, isSubscriber } = connection
      if (which === 'subscriber' && !isSubscriber) continue
      socket.unpipe(other)
      other.unpipe(socket)
      socket.removeAllListeners('end').resume()
      other.removeAllListeners('end').resume()
    }
  }

  /** Holds back the data that the node has sent on its present connections, even after it has closed them. */
  hold (): void {
    for (const { socket } of this.#connections) {
      this.#held.add(socket.pause())
      socket.once('close', () => { this.#held.delete(socket) })
    }
  }

  /** Forwards the data that was held back. */
  release (): void {
    for (const socket of this.#held) socket.resume()
  }

  /** Number of connections that are held back, or whose remaining data is still in transit. */
  get held (): number {
    return this.#held.size
  }

  resume (): void {
    for (const socket of this.#fromServer) socket.resume()
  }

  mend (): void {
    this.#isCut = false
  }

  close (): void {
    this.cut()
    this.#server.close()
  }
}

const LIVING = 'return redis.call("ZCOUNT", KEYS[1], redis.call("TIME")[1] * 1000, "+inf")'

let prefixes = 0

export interface RedisFixtureOptions {
  readonly leaseMs?: number
  /** Returns the option `redis` of the broker. */
  readonly createRedis?: (port: number) => RedisTarget
}

const settings = (port: number): RedisTarget => ({ host: '127.0.0.1', port })

/** Returns a store in a Redis server that several stores share, each with its own prefix. */
export function redisFixture (server: RedisServer, { leaseMs = 3_000, createRedis = settings }: RedisFixtureOptions = {}): BrokerFixture {
  const prefix = `test${process.pid}-${++prefixes}`
  const lines = new Map<Broker, Line>()
  const killed = new Set<Broker>()
  const lineOf = (broker: Broker): Line => lines.get(broker)!
  const living = async (): Promise<number> => Number(await server.command('EVAL', LIVING, '1', `${prefix}:1:{ctl}nodes`))
  return {
    createBroker: async () => {
      const line = await Line.to(server.port)
      const broker = redisBroker({ redis: createRedis(line.port), prefix, leaseMs })
      lines.set(broker, line)
      return broker
    },
    lose: async () => { await server.command('EVAL', 'for _, key in ipairs(redis.call("KEYS", ARGV[1])) do redis.call("DEL", key) end', '0', `${prefix}:*`) },
    disconnect: async (broker) => {
      lineOf(broker).cut()
      await until(() => broker.status?.().state === 'unavailable')
    },
    reconnect: async (broker) => {
      lineOf(broker).mend()
      await until(() => broker.status?.().state === 'ready')
    },
    kill: async (broker) => {
      lineOf(broker).cut()
      killed.add(broker)
      await until(async () => await living() <= lines.size - killed.size)
    },
    close: async () => {
      for (const broker of killed) await broker.close()
      for (const line of lines.values()) line.close()
    }
  }
}

import type { ConnectionRegistry } from '../connections/connection-registry.js'
import type { Broker, NodeAnswer } from '../streams/broker.js'
import type { ClientStats, Stats, StatsFilter } from './stats.js'

/** One connection of a node. */
export interface ClusterClientStats extends ClientStats {
  /** Name of its node. */
  node: string
}

/** The connections of one node, counted. */
export interface NodeStats {
  node: string
  totalConnections: number
  activeConnections: number
}

/** The connections of all nodes. */
export interface ClusterStats {
  /** Number of tracked connections of all nodes, including those that are closing. */
  totalConnections: number
  /** Number of connections of all nodes that are open and alive. */
  activeConnections: number
  clients: ClusterClientStats[]
  /** The nodes that answered. */
  nodes: NodeStats[]
  /** Names of the living nodes that did not answer in time. Their connections are not counted. */
  missing: string[]
}

/** Result of `disconnectUser`. */
export interface Disconnected {
  /** Number of connections that were closed. */
  connections: number
  /** Names of the living nodes that did not answer in time. They may have closed connections too, or not. */
  missing: string[]
}

/** What a node asks all nodes. */
type Question =
  | { readonly type: 'stats', readonly filter: StatsFilter }
  | { readonly type: 'disconnect', readonly userId: string, readonly code: number }

/** Clients that one answer lists at most. */
const MAX_CLUSTER_CLIENTS = 1_000

export interface ClusterOptions {
  readonly broker: Broker
  readonly connections: ConnectionRegistry
  readonly getStats: (filter: StatsFilter) => Stats
}

/** Questions to all nodes, and this node's answers. */
export class Cluster {
  readonly #options: ClusterOptions

  constructor (options: ClusterOptions) {
    this.#options = options
  }

  async getStats (filter: StatsFilter): Promise<ClusterStats> {
    const limit = Math.max(0, Math.min(filter.limit ?? MAX_CLUSTER_CLIENTS, MAX_CLUSTER_CLIENTS))
    const { answers, missing } = await this.#ask({ type: 'stats', filter: { ...filter, limit } }, isStats)
    const nodes = answers.map(({ node, value: { totalConnections, activeConnections } }) => ({ node, totalConnections, activeConnections }))
    const sum = (name: 'totalConnections' | 'activeConnections'): number => nodes.reduce((total, node) => total + node[name], 0)
    const clients = answers.flatMap(({ node, value }) => value.clients.map((client) => ({ ...client, node }))).slice(0, limit)
    return { totalConnections: sum('totalConnections'), activeConnections: sum('activeConnections'), clients, nodes, missing }
  }

  async disconnectUser (userId: string, code: number): Promise<Disconnected> {
    const { answers, missing } = await this.#ask({ type: 'disconnect', userId, code }, isCount)
    return { connections: answers.reduce((sum, { value }) => sum + value, 0), missing }
  }

  /** Returns this node's answer. Another version of this package may put questions that this one doesn't know. */
  answer (text: string): string {
    const question = Object(parse(text)) as Question
    switch (question.type) {
      case 'stats': return JSON.stringify(this.#options.getStats(question.filter))
      case 'disconnect': return String(this.#disconnect(question.userId, question.code))
      default: return ''
    }
  }

  #disconnect (userId: string, code: number): number {
    const { connections } = this.#options
    let closed = 0
    for (const connection of connections.values()) if (connection.userId === userId && connections.closeWith(connection, code)) closed++
    return closed
  }

  /** Puts a question. A node whose answer can't be read is missing. */
  async #ask<T> (question: Question, isAnswer: (value: unknown) => value is T): Promise<{ answers: Array<{ node: string, value: T }>, missing: string[] }> {
    const { answers, missing } = await this.#options.broker.ask(JSON.stringify(question))
    const read = answers.map(({ node, answer }: NodeAnswer) => ({ node, value: parse(answer) }))
    return {
      answers: read.filter((one): one is { node: string, value: T } => isAnswer(one.value)),
      missing: [...missing, ...read.filter(({ value }) => !isAnswer(value)).map(({ node }) => node)]
    }
  }
}

function isStats (value: unknown): value is Stats {
  const { totalConnections, activeConnections, clients } = Object(value) as Partial<Record<keyof Stats, unknown>>
  return isCount(totalConnections) && isCount(activeConnections) && Array.isArray(clients)
}

function isCount (value: unknown): value is number {
  return Number.isSafeInteger(value)
}

function parse (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

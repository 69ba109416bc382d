import type { Stream } from '../streams/broker.js'

/** Number of hash tags that the streams are distributed over. In Redis Cluster, all keys of a bucket are in one slot. */
export const BUCKETS = 64

/** Version of the schema. Nodes with different versions share nothing. */
const VERSION = 1

/** The keys and channels of one app. `README.md` describes each of them. */
export class Keys {
  readonly prefix: string
  /** Known to all nodes: see `HELLO` in `lua/nodes.ts`. */
  readonly generation: string
  readonly nodes: string
  readonly check: string
  /** What workers without a node need: see `lua/remote.ts`. */
  readonly remote: string
  readonly log: string
  /** Channels. */
  readonly control: string
  readonly bucketGenerations: readonly string[]

  constructor (prefix: string) {
    this.prefix = `${prefix}:${VERSION}:`
    const control = `${this.prefix}{ctl}`
    this.generation = `${control}gen`
    this.nodes = `${control}nodes`
    this.check = `${control}check`
    this.remote = `${control}remote`
    this.log = `${control}log`
    this.control = `${control}all`
    this.bucketGenerations = Array.from({ length: BUCKETS }, (_, bucket) => `${this.base(bucket)}gen`)
  }

  /** Returns what all keys of a bucket begin with. */
  base (bucket: number): string {
    return `${this.prefix}{b${bucket}}`
  }

  /** Returns the channel of one node. */
  node (node: string): string {
    return `${this.prefix}{ctl}node:${node}`
  }

  /** Returns the set of the nodes that have published their jobs again in a generation. */
  seeded (generation: string): string {
    return `${this.prefix}{ctl}seeded:${generation}`
  }

  stream (stream: Stream): StreamKeys {
    const base = this.base(bucketOf(stream))
    return { metadata: `${base}m:${stream}`, channel: `${base}c:${stream}` }
  }
}

/** The names of one stream. The functions derive those of the other keys from that of the metadata. */
export interface StreamKeys {
  readonly metadata: string
  readonly channel: string
}

/** FNV-1a over the UTF-16 units of the name: cheap, and the same in every language. */
function bucketOf (stream: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < stream.length; i++) hash = Math.imul(hash ^ stream.charCodeAt(i), 0x01000193)
  return (hash >>> 0) % BUCKETS
}

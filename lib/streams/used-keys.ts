import type { Clock } from '../util/clock.js'
import type { PublicationKey, Published, PublishOptions, Stream } from './broker.js'

/** How long a key is remembered, in milliseconds, and how many of them are. */
const KEY_TTL_MS = 600_000
const MAX_KEYS = 10_000

interface UsedKey {
  readonly request: string
  readonly result: Published
  readonly usedAt: number
}

/** The idempotency keys of the newest publications of all streams, and their results. */
export class UsedKeys {
  readonly #clock: Clock
  /** The oldest first. */
  readonly #keys = new Map<string, UsedKey>()

  constructor (clock: Clock) {
    this.#clock = clock
  }

  /** Returns the result of a publication whose key was used before. */
  find (stream: Stream, { id, request }: PublicationKey): Published | undefined {
    const used = this.#keys.get(nameOf(stream, id))
    if (used === undefined || this.#isExpired(used)) return undefined
    const { result } = used
    if (used.request === request) return { ...result, repeated: true }
    const { epoch, seq } = result
    return { epoch, seq, recipients: 0, dropped: 'reused' }
  }

  /** Records the result of a publication, if that has used its key. */
  add (stream: Stream, { key, job }: PublishOptions, result: Published): void {
    if (key === undefined || (result.dropped !== undefined && !(result.dropped === 'ended' && job?.event === 'progress'))) return
    // Expired keys that are used again belong at the end.
    const name = nameOf(stream, key.id)
    this.#keys.delete(name)
    this.#keys.set(name, { request: key.request, result, usedAt: this.#clock.monotonic() })
    for (const [oldest, used] of this.#keys) {
      if (this.#keys.size <= MAX_KEYS && !this.#isExpired(used)) break
      this.#keys.delete(oldest)
    }
  }

  clear (): void {
    this.#keys.clear()
  }

  #isExpired ({ usedAt }: UsedKey): boolean {
    return this.#clock.monotonic() - usedAt >= KEY_TTL_MS
  }
}

/** No id contains a space. */
function nameOf (stream: Stream, id: string): string {
  return `${id} ${stream}`
}

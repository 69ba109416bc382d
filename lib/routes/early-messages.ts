import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'

/** How much is taken from a client before it is known who it is. */
const MAX_EARLY_MESSAGES = 8
const MAX_EARLY_BYTES = 16 * 1024

/**
 * Holds what a client sends before it is admitted. At either bound the socket is paused, so that the rest stays with the
 * sender: all but the read that passed the bound, and what Node reads ahead of a paused stream, some 64 KiB each.
 */
export class EarlyMessages {
  readonly #ws: WebSocket
  readonly #socket: Duplex | undefined
  #held: Array<{ data: Buffer, isBinary: boolean }> = []
  #bytes = 0

  constructor (ws: WebSocket, socket: Duplex | undefined) {
    this.#ws = ws
    this.#socket = socket
    // The network socket's bytes, and not the messages', because one message may be as long as the limit allows.
    socket?.on('data', this.#count)
  }

  hold (data: Buffer, isBinary: boolean): void {
    this.#held.push({ data, isBinary })
    if (this.#held.length >= MAX_EARLY_MESSAGES) this.#pause()
  }

  /** Lets the client go on, and answers what was held. */
  release (): Array<{ data: Buffer, isBinary: boolean }> {
    const held = this.#held
    this.#held = []
    this.#socket?.off('data', this.#count)
    this.#ws.resume()
    return held
  }

  readonly #count = (chunk: Buffer): void => {
    this.#bytes += chunk.length
    if (this.#bytes >= MAX_EARLY_BYTES) this.#pause()
  }

  /** Of one that is closing nothing is held, and what it says must be read: its answer to the close frame comes last. */
  #pause (): void {
    if (this.#ws.readyState === this.#ws.OPEN) this.#ws.pause()
  }
}

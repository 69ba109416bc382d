import type { IncomingMessage } from 'node:http'
import type { ServerOptions, WebSocketServer } from 'ws'
import type { DeflateSettings } from '../delivery/frame.js'

/** Smallest window that zlib supports. It uses 9 bits when told 8. */
const MIN_WINDOW_BITS = 9
const MAX_WINDOW_BITS = 15

/** Larger messages are sent uncompressed: see `DeflateSettings.ceilingBytes`. */
const CEILING_BYTES = 256 * 1024

/**
 * Returns the settings for compressing each message once for all clients, derived from a server's permessage-deflate options.
 * Returns undefined if compression is disabled.
 */
export function deflateSettings (options: ServerOptions['perMessageDeflate']): DeflateSettings | undefined {
  if (options === undefined || options === false) return undefined
  const { threshold = 1024, serverMaxWindowBits, zlibDeflateOptions = {} } = options === true ? {} : options
  const windowBits = Math.min(serverMaxWindowBits ?? MAX_WINDOW_BITS, zlibDeflateOptions.windowBits ?? MAX_WINDOW_BITS)
  if (windowBits < MIN_WINDOW_BITS) return undefined
  return {
    thresholdBytes: threshold,
    ceilingBytes: CEILING_BYTES,
    windowBits,
    level: zlibDeflateOptions.level ?? -1,
    memLevel: zlibDeflateOptions.memLevel ?? 8,
    chunkSize: zlibDeflateOptions.chunkSize ?? 16 * 1024
  }
}

/**
 * Whether every offer of a client requires a smaller window than the server's options allow. ws answers such a request with
 * HTTP 400, although the server may decline an offer and use no compression (RFC 7692, section 5).
 */
export function offersOnlySmallerWindows (header: string | undefined, settings: DeflateSettings): boolean {
  const offers = header?.split(',').filter((offer) => offer.trim().startsWith('permessage-deflate')) ?? []
  return offers.length > 0 && offers.every((offer) => {
    const bits = /server_max_window_bits\s*=\s*"?(\d+)/.exec(offer)?.[1]
    return bits !== undefined && Number(bits) < settings.windowBits
  })
}

/**
 * Records which clients can receive messages that were compressed for all clients. The negotiated extension must keep no
 * context between messages and have a window at least as large as the server's. ws does not expose what it negotiated, so this
 * reads the response headers.
 */
export class Negotiations {
  readonly #windowBits: number
  readonly #server: WebSocketServer
  readonly #compatible = new WeakSet<IncomingMessage>()

  constructor (server: WebSocketServer, settings: DeflateSettings) {
    this.#server = server
    this.#windowBits = settings.windowBits
    server.on('headers', this.#onHeaders)
  }

  /** Whether the client of this upgrade request can inflate messages that were compressed for all clients. */
  inflates (request: IncomingMessage): boolean {
    return this.#compatible.has(request)
  }

  stop (): void {
    this.#server.off('headers', this.#onHeaders)
  }

  readonly #onHeaders = (headers: string[], request: IncomingMessage): void => {
    // The client offered no extension.
    if (request.headers['sec-websocket-extensions'] === undefined) return
    const answer = headers.find((line) => line.toLowerCase().startsWith('sec-websocket-extensions:'))
    if (answer !== undefined && this.#isCompatible(answer)) this.#compatible.add(request)
  }

  #isCompatible (answer: string): boolean {
    if (!answer.includes('permessage-deflate') || !answer.includes('server_no_context_takeover')) return false
    const window = /server_max_window_bits=(\d+)/.exec(answer)?.[1]
    return Number(window ?? MAX_WINDOW_BITS) >= this.#windowBits
  }
}

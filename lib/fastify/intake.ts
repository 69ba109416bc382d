import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import type { Clock, Timer } from '../util/clock.js'
import { CLOSE, FrameScanner } from './frame-scanner.js'

/** Limits on the data held for a client before its admission: messages, and bytes from the network. */
const MAX_EARLY_MESSAGES = 8
const MAX_EARLY_BYTES = 16 * 1024
/** Maximum number of bytes read from a closing connection, in search of the client's close frame. */
const MAX_CLOSING_BYTES = 1024 * 1024

/** A smaller non-final frame counts as a message for the rate limit, because handling it costs as much. */
const SMALL_FRAME_BYTES = 1024

/** Decides which messages of a client are read, and when. */
export interface Intake {
  /** Called on admission. Handles the held messages first, and later ones as they arrive. */
  open (): void
  /** Called when ws emits a message. */
  message (data: Buffer, isBinary: boolean): void
  /** Called when ws rejects an invalid frame. */
  failed (): void
}

/** The connection that receives the messages. */
export interface Recipient {
  readonly ws: WebSocket
  /** Whether the server is closing the connection. Then only the client's close frame is read. */
  readonly isClosing: boolean
  /** Handles a message of an admitted client. */
  take (data: Buffer, isBinary: boolean): void
  /** Called for a small non-final frame. */
  fragmented (): void
}

/** Options that all connections share. */
export interface IntakeOptions {
  readonly clock: Clock
  /** How long a closing connection stays open if the client keeps sending, in milliseconds. */
  readonly closeTimeoutMs: number
}

/** Creates the intake of a connection. `socket` is undefined for `injectWS`. */
export function createIntake (socket: Duplex | undefined, recipient: Recipient, options: IntakeOptions): Intake {
  return socket === undefined ? new InjectedIntake(recipient) : new SocketIntake(socket, recipient, options)
}

type DataListener = (this: Duplex, chunk: Buffer) => void

const NOTHING = Buffer.alloc(0)

/** Property that holds a socket's intake. It lets all sockets share their listeners (benchmark row `listeners`). */
const INTAKE = Symbol('intake')
type TakenSocket = Duplex & { [INTAKE]: SocketIntake }

function onData (this: TakenSocket, chunk: Buffer): void {
  this[INTAKE].receive(chunk)
}

function onClose (this: TakenSocket): void {
  this[INTAKE].drop()
  this.off('data', onData)
}

/**
 * Filters the bytes between the network socket and ws. ws parses and inflates all bytes that it gets, so bytes that must not
 * cause work must not reach it:
 *
 * - Before admission, raw bytes are held. At the limit, the socket is paused, so that backpressure stops the sender. The read
 *   that exceeds the limit, and the data that Node reads ahead of a paused stream, are still held: about 64 KiB each.
 * - After admission, ws gets one message at a time, and the next one once that was handled. So a reply such as `rate_limited`
 *   takes effect before the next message is inflated.
 * - While the server closes the connection, all frames are dropped, except the close frame, for which ws waits. After
 *   `MAX_CLOSING_BYTES` nothing more is read, and the socket is terminated if the client does not close in time.
 *
 * How ws reads the socket is not part of its API. This class assumes that ws has added a `data` listener before it emits the
 * connection. The class removes that listener from the socket and calls it itself.
 */
class SocketIntake implements Intake {
  readonly #socket: Duplex
  readonly #recipient: Recipient
  readonly #options: IntakeOptions
  /** The `data` listener of ws. */
  readonly #wsListener: DataListener
  /** Position within the frames: of the bytes read last, or for an open intake of the bytes that ws got last. */
  #scanner = new FrameScanner()
  /** Bytes that ws has not got yet. One buffer instead of an array, to save memory per connection. */
  #held: Buffer = NOTHING
  #earlyMessages = 0
  #isOpen = false
  /** Whether the scanner's current frame is passed to ws. */
  #isPassing = false
  #isAdvancing = false
  /** Number of messages that ws has got and not emitted yet, at most one. */
  #inFlight = 0
  /** Whether ws has got its last frame: a close frame, or one that violates RFC 6455. */
  #isOver = false
  #closingBytes = 0
  #deadline: Timer | undefined

  constructor (socket: Duplex, recipient: Recipient, options: IntakeOptions) {
    this.#socket = socket
    this.#recipient = recipient
    this.#options = options
    const [wsListener] = socket.listeners('data') as [DataListener]
    this.#wsListener = wsListener
    const taken = Object.assign(socket, { [INTAKE]: this })
    taken.on('data', onData)
    taken.off('data', wsListener)
    // The `close` listener of ws passes the socket's remaining bytes to its parser, ahead of the held ones. So this one runs
    // first.
    taken.prependListener('close', onClose)
  }

  message (data: Buffer, isBinary: boolean): void {
    this.#recipient.take(data, isBinary)
    this.#inFlight--
    this.#advance()
  }

  failed (): void {
    this.#isOver = true
    this.#advance()
  }

  open (): void {
    this.#isOpen = true
    // The held bytes are scanned again as they are passed to ws.
    this.#scanner = new FrameScanner()
    this.#advance()
  }

  get #isClosing (): boolean {
    return this.#isOver || this.#recipient.isClosing
  }

  /** Handles bytes from the network socket. */
  receive (chunk: Buffer): void {
    const isClosing = this.#isClosing
    if (isClosing) this.#countClosing(chunk.length)
    if (this.#isOpen) {
      this.#keep(chunk)
      this.#advance()
    } else if (isClosing) {
      this.#held = NOTHING
      this.#pass(chunk)
    } else {
      this.#hold(chunk)
    }
  }

  #keep (chunk: Buffer): void {
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk])
  }

  #hold (chunk: Buffer): void {
    let at = this.#held.length
    this.#keep(chunk)
    while (at < this.#held.length) {
      at = this.#scanner.take(this.#held, at)
      if (this.#scanner.isAtEnd && this.#scanner.opcode === CLOSE) {
        this.#passClose(at)
        return
      }
      if (this.#scanner.isAtEnd && this.#scanner.endsMessage) this.#earlyMessages++
    }
    if (this.#earlyMessages >= MAX_EARLY_MESSAGES || this.#held.length >= MAX_EARLY_BYTES) this.#recipient.ws.pause()
  }

  /** Passes on the close frame of a client that closes before its admission. Drops its earlier messages. */
  #passClose (end: number): void {
    const frame = this.#held.subarray(end - this.#scanner.frameBytes, end)
    this.#held = NOTHING
    this.#isOver = true
    this.#passToWs(frame)
  }

  /** Passes held bytes to ws, up to the end of a message that ws does not emit synchronously. */
  #advance (): void {
    // Prevents recursion: ws may emit a message synchronously.
    if (!this.#isOpen || this.#isAdvancing) return
    this.#isAdvancing = true
    let given: number
    do {
      given = this.#pass(this.#held)
      this.#held = given < this.#held.length ? this.#held.subarray(given) : NOTHING
    } while (given > 0)
    this.#isAdvancing = false
    const { ws } = this.#recipient
    // Reading stops while bytes are held, so that the end of the stream does not overtake them.
    if (this.#held.length > 0) ws.pause()
    else if (ws.isPaused && this.#closingBytes <= MAX_CLOSING_BYTES) ws.resume()
  }

  /** Passes frames to ws. Stops after a message that ws has not emitted yet, and returns that position. */
  #pass (chunk: Buffer): number {
    let at = 0
    while (at < chunk.length && (this.#inFlight === 0 || this.#isClosing)) {
      const from = at
      const isNew = this.#scanner.isAtEnd
      at = this.#scanner.take(chunk, from)
      const { isAtEnd, opcode, endsMessage, isFragment, frameBytes } = this.#scanner
      // A frame that ws has got in part is completed. Otherwise ws would read the close frame as the rest of it.
      if (isNew) this.#isPassing = opcode === CLOSE || !this.#isClosing
      if (!this.#isPassing || this.#isOver) continue
      if (isAtEnd && endsMessage) this.#inFlight++
      if (isAtEnd && opcode === CLOSE) this.#isOver = true
      this.#passToWs(chunk.subarray(from, at))
      if (isAtEnd && isFragment && frameBytes < SMALL_FRAME_BYTES) this.#recipient.fragmented()
    }
    return at
  }

  #passToWs (bytes: Buffer): void {
    this.#wsListener.call(this.#socket, bytes)
  }

  #countClosing (bytes: number): void {
    const { clock, closeTimeoutMs } = this.#options
    this.#closingBytes += bytes
    if (this.#closingBytes <= MAX_CLOSING_BYTES) return
    const { ws } = this.#recipient
    ws.pause()
    this.#deadline ??= clock.after(closeTimeoutMs, () => { ws.terminate() })
  }

  /** Drops the held bytes after the socket has closed. */
  drop (): void {
    this.#isOver = true
    this.#held = NOTHING
    this.#deadline?.cancel()
    this.#socket.read()
  }
}

/** Intake for a connection of `injectWS`, which has no network socket. Holds messages instead of bytes. */
class InjectedIntake implements Intake {
  readonly #recipient: Recipient
  readonly #held: Array<[data: Buffer, isBinary: boolean]> = []
  #isOpen = false

  constructor (recipient: Recipient) {
    this.#recipient = recipient
  }

  message (data: Buffer, isBinary: boolean): void {
    if (this.#isOpen) this.#recipient.take(data, isBinary)
    else if (this.#held.push([data, isBinary]) >= MAX_EARLY_MESSAGES) this.#recipient.ws.pause()
  }

  failed (): void { /* Bytes are not held. */ }

  open (): void {
    this.#isOpen = true
    this.#recipient.ws.resume()
    for (const [data, isBinary] of this.#held.splice(0)) this.#recipient.take(data, isBinary)
  }
}

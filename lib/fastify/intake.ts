import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import type { Clock, Timer } from '../util/clock.js'
import { CLOSE, FrameScanner } from './frame-scanner.js'

/** How much is taken from a client before it is known who it is: messages, and bytes as they come from the network. */
const MAX_EARLY_MESSAGES = 8
const MAX_EARLY_BYTES = 16 * 1024
/** How much is read of a client whose connection closes, in search of its close frame. */
const MAX_CLOSING_BYTES = 1024 * 1024

/** A frame of fewer bytes that does not end its message counts as a message: handling many of them costs as much. */
const SMALL_FRAME_BYTES = 1024

/** Decides which of a client's messages are read, and when. */
export interface Intake {
  /** The client is admitted: what was held is handled first, then everything as it comes. */
  open (): void
  /** ws has emitted a message. */
  message (data: Buffer, isBinary: boolean): void
  /** ws has found a fault in what it was given. */
  failed (): void
}

/** The connection that the messages are for. */
export interface Recipient {
  readonly ws: WebSocket
  /** Whether the server is closing the connection: then nothing that the client says counts, except its close frame. */
  readonly isClosing: boolean
  /** Handles a message of an admitted client. */
  take (data: Buffer, isBinary: boolean): void
  /** A small frame came that does not end its message. */
  fragmented (): void
}

/** The same for all connections. */
export interface IntakeOptions {
  readonly clock: Clock
  /** How long a client that does not stop sending keeps a connection that closes, in milliseconds. */
  readonly closeTimeoutMs: number
}

export function createIntake (socket: Duplex | undefined, recipient: Recipient, options: IntakeOptions): Intake {
  return socket === undefined ? new InjectedIntake(recipient) : new SocketIntake(socket, recipient, options)
}

type DataListener = (this: Duplex, chunk: Buffer) => void

const NOTHING = Buffer.alloc(0)

/** Where a socket's intake is found by listeners that all sockets share: a function for each would be memory for each. */
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
 * Stands between the network socket and ws. ws parses and inflates whatever it is given, so what must cost nothing must
 * not reach it:
 *
 * - Before admission the bytes are held as they came. At the bound the socket is paused, so that the rest stays with the
 *   sender: all but the read that passed the bound, and what Node reads ahead of a paused stream, some 64 KiB each.
 * - After it ws is given one message at a time, and the next one when that was handled. So a verdict about one, such as
 *   `rate_limited`, comes before the next is inflated.
 * - While the server closes the connection every frame is dropped, except the close frame, for which ws waits. After
 *   `MAX_CLOSING_BYTES` nothing more is read, and a client that did not close by then is cut off.
 *
 * ws does not promise how it reads the socket. This relies on it doing so in a listener of `data`, which is there when the
 * connection is handed over: that is taken off the socket and called from here.
 */
class SocketIntake implements Intake {
  readonly #socket: Duplex
  readonly #recipient: Recipient
  readonly #options: IntakeOptions
  /** ws's own listener. */
  readonly #give: DataListener
  /** Where in a frame the bytes are that were read last; of an open intake, those that ws was given last. */
  #scanner = new FrameScanner()
  /** Bytes that ws was not given yet. Copied together, since there are few: an array would be memory for each connection. */
  #held: Buffer = NOTHING
  #earlyMessages = 0
  #isOpen = false
  /** Whether the frame in which the scanner is goes to ws. */
  #isPassing = false
  #isAdvancing = false
  /** Messages that ws was given and has not emitted yet: one at most. */
  #underWay = 0
  /** Whether ws has its last frame: a close frame, or one that RFC 6455 does not allow. */
  #isOver = false
  #closingBytes = 0
  #deadline: Timer | undefined

  constructor (socket: Duplex, recipient: Recipient, options: IntakeOptions) {
    this.#socket = socket
    this.#recipient = recipient
    this.#options = options
    const [give] = socket.listeners('data') as [DataListener]
    this.#give = give
    const taken = Object.assign(socket, { [INTAKE]: this })
    taken.on('data', onData)
    taken.off('data', give)
    // ws's own listener gives its parser what is still in the socket, in the wrong place.
    taken.prependListener('close', onClose)
  }

  message (data: Buffer, isBinary: boolean): void {
    this.#recipient.take(data, isBinary)
    this.#underWay--
    this.#advance()
  }

  failed (): void {
    this.#isOver = true
    this.#advance()
  }

  open (): void {
    this.#isOpen = true
    // What was scanned while it was held is scanned again, to be given to ws.
    this.#scanner = new FrameScanner()
    this.#advance()
  }

  get #isClosing (): boolean {
    return this.#isOver || this.#recipient.isClosing
  }

  /** The network socket has read something. */
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
        this.#goodbye(at)
        return
      }
      if (this.#scanner.isAtEnd && this.#scanner.endsMessage) this.#earlyMessages++
    }
    if (this.#earlyMessages >= MAX_EARLY_MESSAGES || this.#held.length >= MAX_EARLY_BYTES) this.#recipient.ws.pause()
  }

  /** Lets a client go that closes before it is admitted. Nothing that it said before will be handled. */
  #goodbye (end: number): void {
    const frame = this.#held.subarray(end - this.#scanner.frameBytes, end)
    this.#held = NOTHING
    this.#isOver = true
    this.#giveToWs(frame)
  }

  /** Goes on with what is held, up to the end of a message that ws does not emit at once. */
  #advance (): void {
    // ws may emit a message while it is given it.
    if (!this.#isOpen || this.#isAdvancing) return
    this.#isAdvancing = true
    let given: number
    do {
      given = this.#pass(this.#held)
      this.#held = given < this.#held.length ? this.#held.subarray(given) : NOTHING
    } while (given > 0)
    this.#isAdvancing = false
    const { ws } = this.#recipient
    // Not read on while anything is held: the end of the stream must not overtake it.
    if (this.#held.length > 0) ws.pause()
    else if (ws.isPaused && this.#closingBytes <= MAX_CLOSING_BYTES) ws.resume()
  }

  /** Gives ws the frames that are for it. Returns where it stopped, because ws has a message that it has not emitted yet. */
  #pass (chunk: Buffer): number {
    let at = 0
    while (at < chunk.length && (this.#underWay === 0 || this.#isClosing)) {
      const from = at
      const isNew = this.#scanner.isAtEnd
      at = this.#scanner.take(chunk, from)
      const { isAtEnd, opcode, endsMessage, isFragment, frameBytes } = this.#scanner
      // A frame that ws has a part of is given to it whole: otherwise it would take the close frame for the rest.
      if (isNew) this.#isPassing = opcode === CLOSE || !this.#isClosing
      if (!this.#isPassing || this.#isOver) continue
      if (isAtEnd && endsMessage) this.#underWay++
      if (isAtEnd && opcode === CLOSE) this.#isOver = true
      this.#giveToWs(chunk.subarray(from, at))
      if (isAtEnd && isFragment && frameBytes < SMALL_FRAME_BYTES) this.#recipient.fragmented()
    }
    return at
  }

  #giveToWs (bytes: Buffer): void {
    this.#give.call(this.#socket, bytes)
  }

  #countClosing (bytes: number): void {
    const { clock, closeTimeoutMs } = this.#options
    this.#closingBytes += bytes
    if (this.#closingBytes <= MAX_CLOSING_BYTES) return
    const { ws } = this.#recipient
    ws.pause()
    this.#deadline ??= clock.after(closeTimeoutMs, () => { ws.terminate() })
  }

  /** The socket has closed: what was not handled will not be. */
  drop (): void {
    this.#isOver = true
    this.#held = NOTHING
    this.#deadline?.cancel()
    this.#socket.read()
  }
}

/** The same for a connection of `injectWS`, which has no network socket: what is held are messages. */
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

  failed (): void { /* Nothing is held that ws has not read. */ }

  open (): void {
    this.#isOpen = true
    this.#recipient.ws.resume()
    for (const [data, isBinary] of this.#held.splice(0)) this.#recipient.take(data, isBinary)
  }
}

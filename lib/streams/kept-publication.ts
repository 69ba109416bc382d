import type { Publication, Stub, TextSpan } from './broker.js'

/** A publication's fields that do not depend on its place in the stream. */
export type Message = Omit<Publication, 'revision' | 'seq' | 'made'>

/** A publication as it may be kept. A class, because there are very many: all have the same fields in the same order. */
export class KeptPublication implements Publication {
  readonly body: string
  readonly durable: boolean
  readonly revision: number
  readonly seq: number | undefined
  readonly jobId: string | undefined
  readonly supersedes: boolean | undefined
  readonly textAt: number | undefined
  readonly text: TextSpan | undefined
  /** What remains of it where there is no room for the whole. Made in advance, because later the object is gone. */
  readonly stub: KeptPublication | undefined
  made: unknown = undefined
  /** At least what it takes in memory while it is kept, its stub included; measured once. */
  readonly bytes: number

  constructor (message: Message, revision: number, seq: number | undefined, bytes: number, stub?: KeptPublication) {
    const { body, durable, jobId, supersedes, textAt, text } = message
    this.body = body
    this.durable = durable
    this.revision = revision
    this.seq = seq
    this.jobId = jobId
    this.supersedes = supersedes
    this.textAt = textAt
    this.text = text
    this.stub = stub
    this.bytes = stub === undefined ? bytes : bytes + stub.bytes
  }
}

/** Bodies of more UTF-16 units have their stub made beside them. A stub of a shorter one would save little. */
const STUB_FROM_UNITS = 4_096

/**
 * What a kept publication costs beside its characters: objects, strings' heads, a buffer, the fields that are written into
 * the frame. 530 bytes were measured with one frame, and 770 with two.
 */
const DURABLE_BYTES = 576
const DEFLATED_BYTES = 256
/** The same without a frame: 120 bytes were measured, and 200 more while its text is in the pieces that it was made of. */
const EPHEMERAL_BYTES = 384
/** V8 may keep a unit of a text or of a name in two bytes. In UTF-8, as in a frame, it takes at most three. */
export const UNIT_BYTES = 2
const UNIT_FRAME_BYTES = 3

/** Makes publications that may be kept, and weighs them. */
export class Scales {
  readonly #maxMessageBytes: number
  readonly #deflateFromBytes: number

  constructor ({ maxMessageBytes, deflateFromBytes = Infinity }: { maxMessageBytes: number, deflateFromBytes?: number | undefined }) {
    this.#maxMessageBytes = maxMessageBytes
    this.#deflateFromBytes = deflateFromBytes
  }

  make (message: Message, revision: number, seq: number | undefined, makeStub?: () => Stub): KeptPublication {
    const bytes = this.#weigh(message)
    if (makeStub === undefined || (message.body.length <= STUB_FROM_UNITS && bytes <= this.#maxMessageBytes)) {
      return new KeptPublication(message, revision, seq, bytes)
    }
    const short = { ...message, ...makeStub() }
    return new KeptPublication(message, revision, seq, bytes, new KeptPublication(short, revision, seq, this.#weigh(short)))
  }

  #weigh ({ body, durable, jobId = '' }: Message): number {
    // It is framed anew for each who comes late, and no frame is kept.
    if (!durable) return EPHEMERAL_BYTES + body.length * UNIT_BYTES
    const frameBytes = Buffer.byteLength(body) + jobId.length * UNIT_FRAME_BYTES
    const isTwice = frameBytes >= this.#deflateFromBytes
    return DURABLE_BYTES + body.length * UNIT_BYTES + frameBytes + (isTwice ? frameBytes + DEFLATED_BYTES : 0)
  }
}

import type { Publication, TextSpan } from './broker.js'

/** The fields of a publication that do not depend on its place in the stream. */
export type Message = Omit<Publication, 'body' | 'revision' | 'seq' | 'recoveryFrame'> & { readonly body: string }

/** A publication that can be kept. It is a class so that the very many instances share one hidden class in V8. */
export class KeptPublication implements Publication {
  readonly body: string
  readonly durable: boolean
  readonly revision: number
  readonly seq: number | undefined
  readonly jobId: string | undefined
  readonly supersedes: boolean | undefined
  readonly text: TextSpan | undefined
  /** Replaces the publication when there is no room for all of it. Made in advance, because the message object is not kept. */
  readonly shortForm: KeptPublication | undefined
  recoveryFrame: unknown = undefined
  /** Upper estimate of the memory that it takes while it is kept, including its short form. Computed once. */
  readonly bytes: number

  constructor (message: Message, revision: number, seq: number | undefined, bytes: number, shortForm?: KeptPublication) {
    const { body, durable, jobId, supersedes, text } = message
    this.body = body
    this.durable = durable
    this.revision = revision
    this.seq = seq
    this.jobId = jobId
    this.supersedes = supersedes
    this.text = text
    this.shortForm = shortForm
    this.bytes = shortForm === undefined ? bytes : bytes + shortForm.bytes
  }
}

/** Bodies of more UTF-16 units get a short form. That of a smaller body would save little. */
const SHORT_FORM_FROM_UNITS = 4_096

/**
 * Estimated memory of a kept durable publication without its characters: objects, string headers, a buffer, the fields that
 * are added to the frame. Measured: 530 bytes with one frame, 770 bytes with two.
 */
const DURABLE_BYTES = 576
const DEFLATED_BYTES = 256
/** The same for one without a frame. Measured: 120 bytes, and 200 more while V8 keeps the string as a rope of its pieces. */
const EPHEMERAL_BYTES = 384
/** Bytes per UTF-16 unit: V8 stores one in at most two, and UTF-8, as in a frame, takes at most three. */
export const UNIT_BYTES = 2
const UNIT_FRAME_BYTES = 3
/** The most that a kept publication without a short form takes, beside its UTF-8, and for each byte of that. */
export const MAX_OVERHEAD_BYTES = DURABLE_BYTES + DEFLATED_BYTES
export const MAX_BYTES_PER_BYTE = UNIT_BYTES + 2

/** Makes publications that can be kept, and estimates their memory. */
export class PublicationFactory {
  readonly #maxMessageBytes: number
  readonly #deflateFromBytes: number

  constructor ({ maxMessageBytes, deflateFromBytes = Infinity }: { maxMessageBytes: number, deflateFromBytes?: number | undefined }) {
    this.#maxMessageBytes = maxMessageBytes
    this.#deflateFromBytes = deflateFromBytes
  }

  make (message: Message, revision: number, seq: number | undefined, makeShortForm?: () => string): KeptPublication {
    const bytes = this.#estimateBytes(message)
    if (makeShortForm === undefined || (message.body.length <= SHORT_FORM_FROM_UNITS && bytes <= this.#maxMessageBytes)) {
      return new KeptPublication(message, revision, seq, bytes)
    }
    const short = { ...message, body: makeShortForm() }
    return new KeptPublication(message, revision, seq, bytes, new KeptPublication(short, revision, seq, this.#estimateBytes(short)))
  }

  #estimateBytes ({ body, durable, jobId = '' }: Message): number {
    // An ephemeral publication is framed for each late subscriber, and its frame is not kept.
    if (!durable) return EPHEMERAL_BYTES + body.length * UNIT_BYTES
    const frameBytes = Buffer.byteLength(body) + jobId.length * UNIT_FRAME_BYTES
    const hasTwoFrames = frameBytes >= this.#deflateFromBytes
    return DURABLE_BYTES + body.length * UNIT_BYTES + frameBytes + (hasTwoFrames ? frameBytes + DEFLATED_BYTES : 0)
  }
}

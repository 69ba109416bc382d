import { errors } from '../util/errors.js'
import { andThen, type MaybePromise } from '../util/maybe-promise.js'
import type {
  Answers, Broker, BrokerNode, BrokerSettings, BrokerStatus, CancelResult, Evicted, Joined, JoinOptions, Published, PublishOptions, Revocation, Stream
} from './broker.js'
import { noEvictions } from './evictions.js'

/** The byte of `}`. */
const BRACE = 0x7d
const states: readonly unknown[] = ['ready', 'degraded', 'unavailable'] satisfies Array<BrokerStatus['state']>

type Fields = Readonly<Record<string, unknown>>

/** Returns what is wrong with a value, or undefined. */
type Check = (value: unknown) => string | undefined

/**
 * Wraps an app's own broker and validates its results. A result that violates the contract is treated like a rejection: the
 * client gets the error `unavailable` instead of waiting for a reply that never comes.
 */
export class CheckedBroker implements Broker {
  readonly #broker: Broker
  readonly #onFault: (fault: unknown) => void

  /** @param onFault Called with errors that reach no caller: a `leave` that throws, and a publication that is invalid. */
  constructor (broker: Broker, onFault: (fault: unknown) => void) {
    this.#broker = broker
    this.#onFault = onFault
  }

  get bytes (): number {
    return this.#broker.bytes ?? 0
  }

  get evicted (): Evicted {
    return this.#broker.evicted ?? { ...noEvictions }
  }

  get canLoseHistory (): boolean {
    return this.#broker.canLoseHistory ?? false
  }

  open (node: BrokerNode, settings: BrokerSettings): MaybePromise<void> {
    return this.#broker.open({
      ...node,
      deliver: (stream, publication) => {
        const fault = publicationFault(publication)
        if (fault === undefined) return node.deliver(stream, publication)
        this.#onFault(new errors.BrokerAnswer('deliver', fault))
        return 0
      },
      statusChanged: (status) => {
        const fault = statusFault(status)
        if (fault === undefined) node.statusChanged(status)
        else this.#onFault(new errors.BrokerAnswer('statusChanged', fault))
      }
    }, settings)
  }

  publish (stream: Stream, body: string, options: PublishOptions): MaybePromise<Published> {
    return checked('publish', publishedFault, this.#broker.publish(stream, body, options))
  }

  join (stream: Stream, options?: JoinOptions): MaybePromise<Joined> {
    return checked('join', joinedFault, this.#broker.join(stream, options))
  }

  leave (stream: Stream): void {
    try {
      this.#broker.leave(stream)
    } catch (error) {
      this.#onFault(error)
    }
  }

  currentJob (stream: Stream): MaybePromise<string | undefined> {
    return checked('currentJob', (value) => isOptionalString(value) ? undefined : 'it is neither a job id nor undefined', this.#broker.currentJob(stream))
  }

  adopt (stream: Stream, jobId: string): MaybePromise<boolean> {
    return checked('adopt', booleanFault, this.#broker.adopt(stream, jobId))
  }

  release (stream: Stream, jobId: string): MaybePromise<boolean> {
    return checked('release', booleanFault, this.#broker.release(stream, jobId))
  }

  revoke (revocation: Revocation): MaybePromise<void> {
    return this.#broker.revoke(revocation)
  }

  cancel (stream: Stream, jobId: string): MaybePromise<CancelResult> {
    return checked('cancel', (value) => value === 'failed' ? undefined : booleanFault(value, ' nor "failed"'), this.#broker.cancel(stream, jobId))
  }

  ask (question: string): MaybePromise<Answers> {
    return checked('ask', answersFault, this.#broker.ask(question))
  }

  /** Never throws, because the app's metrics contain it. */
  status (): BrokerStatus {
    if (this.#broker.status === undefined) return { state: 'ready' }
    try {
      const status = this.#broker.status()
      const fault = statusFault(status)
      if (fault === undefined) return status
      this.#onFault(new errors.BrokerAnswer('status', fault))
    } catch (error) {
      this.#onFault(error)
    }
    return { state: 'degraded', reason: 'the broker\'s status is invalid' }
  }

  close (): MaybePromise<void> {
    return this.#broker.close()
  }
}

function checked<T> (method: string, check: Check, result: MaybePromise<T>): MaybePromise<T> {
  return andThen(result, (value) => {
    const fault = check(value)
    if (fault === undefined) return value
    throw new errors.BrokerAnswer(method, fault)
  })
}

function positionFault ({ epoch, seq }: Fields): string | undefined {
  if (typeof epoch !== 'string' || epoch === '') return 'epoch is not a non-empty string'
  return isCount(seq) ? undefined : 'seq is not an integer from 0 on'
}

function publishedFault (value: unknown): string | undefined {
  if (!isObject(value)) return 'it is not an object'
  if (!isCount(value.recipients)) return 'recipients is not an integer from 0 on'
  if (!isOptionalString(value.jobId)) return 'jobId is not a string'
  if (value.textEnd !== undefined && !isCount(value.textEnd)) return 'textEnd is not an integer from 0 on'
  return isOptionalString(value.dropped) ? positionFault(value) : 'dropped is not a string'
}

function joinedFault (value: unknown): string | undefined {
  if (!isObject(value)) return 'it is not an object'
  const { revision, recovered, reason, replay } = value
  if (!Number.isFinite(revision)) return 'revision is not a number'
  if (typeof recovered !== 'boolean') return 'recovered is not a boolean'
  if (!isOptionalString(reason)) return 'reason is not a string'
  if (!Array.isArray(replay)) return 'replay is not an array'
  return positionFault(value) ?? replay.map(publicationFault).find((fault) => fault !== undefined)
}

function publicationFault (value: unknown): string | undefined {
  if (!isObject(value)) return 'a publication is not an object'
  const { body, durable, revision, seq, jobId, text } = value
  if (!isObjectText(body)) return 'a publication\'s body is not the text of a JSON object'
  if (typeof durable !== 'boolean') return 'a publication\'s durable is not a boolean'
  if (!Number.isFinite(revision)) return 'a publication\'s revision is not a number'
  if (seq !== undefined && !isCount(seq)) return 'a publication\'s seq is not an integer from 0 on'
  if (!isOptionalString(jobId)) return 'a publication\'s jobId is not a string'
  if (text === undefined) return undefined
  if (!isTextSpan(text)) return 'a publication\'s text is not a TextSpan'
  return hasInnerObject(body) ? undefined : 'a publication\'s body has no object into which its text could be inserted'
}

function isObjectText (body: unknown): body is string | Uint8Array {
  return typeof body === 'string' ? body.endsWith('}') : body instanceof Uint8Array && body.at(-1) === BRACE
}

function hasInnerObject (body: string | Uint8Array): boolean {
  return (typeof body === 'string' ? body.lastIndexOf('}', body.length - 2) : body.lastIndexOf(BRACE, body.length - 2)) >= 0
}

function booleanFault (value: unknown, otherwise = ''): string | undefined {
  return typeof value === 'boolean' ? undefined : `it is not a boolean${otherwise}`
}

function answersFault (value: unknown): string | undefined {
  if (!isObject(value)) return 'it is not an object'
  const { answers, missing } = value
  if (!Array.isArray(answers) || !answers.every((one) => isObject(one) && typeof one.node === 'string' && typeof one.answer === 'string')) return 'answers is not an array of { node, answer }'
  return Array.isArray(missing) && missing.every((node) => typeof node === 'string') ? undefined : 'missing is not an array of strings'
}

function statusFault (value: unknown): string | undefined {
  if (!isObject(value)) return 'it is not an object'
  if (!states.includes(value.state)) return `state is not one of ${states.join(', ')}`
  return isOptionalString(value.reason) ? undefined : 'reason is not a string'
}

function isTextSpan (value: unknown): boolean {
  if (!isObject(value) || !isObject(value.source)) return false
  const { source, from, to } = value
  return isCount(from) && isCount(to) && isCount(source.end) && isCount(source.units) && typeof source.slice === 'function'
}

function isObject (value: unknown): value is Fields {
  return typeof value === 'object' && value !== null
}

function isCount (value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function isOptionalString (value: unknown): boolean {
  return value === undefined || typeof value === 'string'
}

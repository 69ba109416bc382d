import { createHash } from 'node:crypto'
import { Type, type Static, type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import type { FastifyInstance, FastifyRequest, RouteShorthandOptions } from 'fastify'
import type { Receipt } from '../manager/notifier.js'
import type { RemoteRequest } from '../manager/remote.js'
import { AIErrorInfo, AIProgress, AIResult, AITask, Id } from '../protocol/messages.js'
import type { PublicationKey } from '../streams/broker.js'

/** Route options of the publish route. One of the hooks must guard it. */
export type PublishRouteOptions = Pick<RouteShorthandOptions,
  'onRequest' | 'preParsing' | 'preValidation' | 'preHandler' | 'bodyLimit' | 'config' | 'constraints' | 'logLevel' | 'errorHandler'> & {
    /** @default '/api/ws/publish' */
    path?: string
  }

/** No other fields, because a misspelled one would be lost in silence. */
const closed = { additionalProperties: false }

const job = {
  sessionId: Id,
  jobId: Type.Optional(Type.Union([Id], { description: 'without it, a start creates a job, and other reports belong to the newest running job of the session' }))
}

const requests = {
  ai_start: Type.Object({ type: Type.Literal('ai_start'), ...job, task: AITask }, { ...closed, description: 'the start of a job' }),
  ai_progress: Type.Object({ type: Type.Literal('ai_progress'), ...job, progress: AIProgress }, { ...closed, description: 'the progress of a job. delta is the text since the last progress' }),
  ai_complete: Type.Object({ type: Type.Literal('ai_complete'), ...job, result: AIResult }, { ...closed, description: 'the result of a job' }),
  ai_error: Type.Object({ type: Type.Literal('ai_error'), ...job, error: AIErrorInfo }, { ...closed, description: 'the failure of a job' })
}

const Broadcast = Type.Object({
  sessionId: Type.Optional(Id),
  userId: Type.Optional(Id),
  message: Type.Object({ type: Type.String({ minLength: 1 }) }, { additionalProperties: true }),
  durable: Type.Optional(Type.Boolean({ description: 'false sends the message to current subscribers only. Needs sessionId or userId', default: true }))
}, { ...closed, description: 'a message of the app\'s own to a session or to a user. Without sessionId and userId, to all clients' })

const PublishBody = Type.Union([...Object.values(requests), Broadcast])
const PublishHeaders = Type.Object({
  'idempotency-key': Type.Optional(Type.String({
    pattern: '^[!-~]{1,256}$',
    description: 'a repeated request with the same key gets the first receipt, and is not published again. 1 to 256 visible ASCII characters'
  }))
})

export const ReceiptSchema = Type.Object({
  epoch: Type.String({ description: 'epoch of the session\'s or user\'s stream' }),
  seq: Type.Integer({ description: 'sequence number in the stream. For an unnumbered message, the number of the latest one' }),
  recipients: Type.Integer({ description: 'number of connections of this node that the message was sent to' }),
  jobId: Type.Optional(Type.String({ description: 'id of its job' })),
  dropped: Type.Optional(Type.Union([Type.Literal('ended'), Type.Literal('started'), Type.Literal('stray')], { description: 'why it was not sent: its job has ended, its job has already started, or it belongs to no job' })),
  kept: Type.Optional(Type.Literal(false, { description: 'the message was sent, but not kept for replay' }))
}, { description: 'receipt' })

const ErrorSchema = Type.Object({ statusCode: Type.Integer(), code: Type.String(), error: Type.String(), message: Type.String() })

const checks = {
  ai_start: TypeCompiler.Compile(requests.ai_start),
  ai_progress: TypeCompiler.Compile(requests.ai_progress),
  ai_complete: TypeCompiler.Compile(requests.ai_complete),
  ai_error: TypeCompiler.Compile(requests.ai_error)
}
const broadcastCheck = TypeCompiler.Compile(Broadcast)
const headersCheck = TypeCompiler.Compile(PublishHeaders)

/** How long a worker should wait before it repeats a request, in seconds. */
const RETRY_AFTER_S = 1

export interface PublishRoute {
  readonly url: string
  readonly routeOptions: Omit<PublishRouteOptions, 'path'>
  /** Rejects with an error that has a `statusCode`. */
  readonly publish: (request: RemoteRequest, key: PublicationKey | undefined) => Promise<Receipt>
  readonly logSerializers: Record<'req', (request: FastifyRequest) => unknown>
}

/** Registers the publish route, `POST /api/ws/publish`, for workers that have no node. */
export function registerPublishRoute (app: FastifyInstance, { url, routeOptions, publish, logSerializers }: PublishRoute): void {
  app.withTypeProvider<TypeBoxTypeProvider>().route({
    ...routeOptions,
    logSerializers,
    method: 'POST',
    url,
    schema: {
      summary: 'Report on a job, or send a message',
      headers: PublishHeaders,
      body: PublishBody,
      response: { 200: ReceiptSchema, 400: ErrorSchema, 422: ErrorSchema, 503: ErrorSchema }
    },
    // Fastify's own validator removes unknown fields, and converts values.
    validatorCompiler: ({ httpPart }) => (value: unknown) => {
      const fault = httpPart === 'headers' ? headersFault(value) : bodyFault(value)
      return fault === undefined ? { value } : { error: new Error(fault) }
    },
    // Fastify's own serializer writes required fields first.
    serializerCompiler: () => (response) => JSON.stringify(response instanceof Error ? errorOf(response) : response),
    handler: async ({ body, headers }, reply) => {
      const id = headers['idempotency-key']
      try {
        return receiptOf(await publish(body, id === undefined ? undefined : { id, request: digestOf(body) }))
      } catch (error) {
        if ((error as { statusCode?: number }).statusCode === 503) reply.header('retry-after', RETRY_AFTER_S)
        throw error
      }
    }
  })
}

function headersFault (headers: unknown): string | undefined {
  return headersCheck.Check(headers) ? undefined : 'the header Idempotency-Key must consist of 1 to 256 visible ASCII characters'
}

/** Returns what is wrong with a body, and names the field. */
function bodyFault (body: unknown): string | undefined {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return 'body must be an object'
  if (!('type' in body)) return broadcastFault(body)
  const { type } = body
  if (typeof type === 'string' && Object.hasOwn(checks, type)) return firstFault(checks[type as keyof typeof checks], body)
  return `body/type must be one of ${Object.keys(checks).join(', ')}: put a message of your own into "message"`
}

function broadcastFault (body: object): string | undefined {
  const fault = firstFault(broadcastCheck, body)
  if (fault !== undefined) return fault
  const { sessionId, userId, durable } = body as Static<typeof Broadcast>
  if (sessionId !== undefined && userId !== undefined) return 'body/userId must not be given with a sessionId: a message goes to one of them'
  if (durable === true && sessionId === undefined && userId === undefined) return 'body/durable must not be true without a sessionId or userId: a message to everyone is not kept'
  return undefined
}

function firstFault (check: (typeof checks)[keyof typeof checks] | typeof broadcastCheck, body: object): string | undefined {
  const first = check.Errors(body).First()
  return first && `body${first.path} is invalid: ${first.message}`
}

/** The parts of a receipt that mean something to a worker. */
function receiptOf ({ epoch, seq, recipients, jobId, dropped, kept }: Receipt): Static<typeof ReceiptSchema> {
  return { epoch, seq, recipients, jobId, dropped, kept } as Static<typeof ReceiptSchema>
}

/** Returns the fields of an error. Those that Fastify adds are not enumerable. */
function errorOf ({ statusCode, code, error, message }: Partial<Static<typeof ErrorSchema>>): object {
  return { statusCode, code, error, message }
}

/** Returns a digest of a request. Two equal requests have the same one if their fields have the same order. */
function digestOf (body: unknown): string {
  return createHash('sha256').update(JSON.stringify(body)).digest('base64url').slice(0, 22)
}

import { Type, type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance, FastifyRequest, RouteShorthandOptions } from 'fastify'
import { Id } from '../protocol/messages.js'
import type { Stats, StatsFilter } from '../manager/stats.js'

/** Route options of the stats route: hooks that guard it above all. */
export type StatsRouteOptions = Pick<RouteShorthandOptions,
  'onRequest' | 'preParsing' | 'preValidation' | 'preHandler' | 'config' | 'constraints' | 'logLevel' | 'errorHandler'> & {
    /** @default '/api/ws/stats' */
    path?: string
  }

const ClientStatsSchema = Type.Object({
  id: Type.Optional(Type.String()),
  userId: Type.Optional(Type.String()),
  sessionId: Type.Optional(Type.String({ description: 'the latest session that it follows' })),
  isAlive: Type.Boolean({ description: 'whether something was heard of it since the last ping' }),
  state: Type.Integer({ minimum: 0, maximum: 3, description: '0 connecting, 1 open, 2 closing, 3 closed' })
})

export const StatsSchema = Type.Object({
  totalConnections: Type.Integer({ description: 'every connection that is tracked' }),
  activeConnections: Type.Integer({ description: 'those that are open and alive' }),
  clients: Type.Array(ClientStatsSchema)
}, { description: 'WebSocket connections' })

const StatsQuery = Type.Object({
  sessionId: Type.Optional(Type.Union([Id], { description: 'list only those that follow this session' })),
  userId: Type.Optional(Type.Union([Id], { description: 'list only this user\'s' })),
  limit: Type.Optional(Type.Integer({ minimum: 0, description: 'list at most so many' }))
})

const ErrorSchema = Type.Object({ statusCode: Type.Integer(), error: Type.String(), message: Type.String() })

export interface StatsRoute {
  readonly url: string
  readonly routeOptions: Omit<StatsRouteOptions, 'path'>
  readonly getStats: (filter: StatsFilter) => Stats
  /** Leaves ids out, and refuses to be asked for one: the answer would tell who is there. */
  readonly withoutIds: boolean
  readonly logSerializers: Record<'req', (request: FastifyRequest) => unknown>
}

/** `GET /api/ws/stats`. */
export function registerStatsRoute (app: FastifyInstance, { url, routeOptions, getStats, withoutIds, logSerializers }: StatsRoute): void {
  app.withTypeProvider<TypeBoxTypeProvider>().route({
    ...routeOptions,
    logSerializers,
    method: 'GET',
    url,
    schema: {
      summary: 'WebSocket connections',
      querystring: StatsQuery,
      response: { 200: StatsSchema, 403: ErrorSchema }
    },
    // Fastify's own serializer writes required fields before optional ones, and the documented order is another.
    serializerCompiler: () => (stats) => JSON.stringify(stats),
    handler: (request, reply) => {
      const filter = request.query
      if (!withoutIds) {
        reply.send(getStats(filter))
      } else if (filter.sessionId !== undefined || filter.userId !== undefined) {
        reply.code(403).send({
          statusCode: 403,
          error: 'Forbidden',
          message: 'asking for one user or session needs a guarded route: give the plugin stats: { preHandler } or { onRequest }'
        })
      } else {
        const { clients, ...totals } = getStats(filter)
        reply.send({ ...totals, clients: clients.map(({ isAlive, state }) => ({ isAlive, state })) })
      }
    }
  })
}

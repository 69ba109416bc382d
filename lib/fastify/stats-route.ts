import { Type, type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance, FastifyRequest, RouteShorthandOptions } from 'fastify'
import { Id } from '../protocol/messages.js'
import type { ClusterStats } from '../manager/cluster.js'
import type { Stats, StatsFilter } from '../manager/stats.js'

/** Route options of the stats route, mainly hooks that guard it. */
export type StatsRouteOptions = Pick<RouteShorthandOptions,
  'onRequest' | 'preParsing' | 'preValidation' | 'preHandler' | 'config' | 'constraints' | 'logLevel' | 'errorHandler'> & {
    /** @default '/api/ws/stats' */
    path?: string
  }

const ClientStatsSchema = Type.Object({
  id: Type.Optional(Type.String()),
  userId: Type.Optional(Type.String()),
  sessionId: Type.Optional(Type.String({ description: 'the latest of the sessions that it is subscribed to' })),
  isAlive: Type.Boolean({ description: 'whether the client has sent anything since the last ping' }),
  state: Type.Integer({ minimum: 0, maximum: 3, description: '0 connecting, 1 open, 2 closing, 3 closed' }),
  node: Type.Optional(Type.String({ description: 'with scope=cluster: its node' }))
})

const NodeStatsSchema = Type.Object({ node: Type.String(), totalConnections: Type.Integer(), activeConnections: Type.Integer() })

export const StatsSchema = Type.Object({
  totalConnections: Type.Integer({ description: 'number of tracked connections, including those that are closing' }),
  activeConnections: Type.Integer({ description: 'number of connections that are open and alive' }),
  clients: Type.Array(ClientStatsSchema),
  nodes: Type.Optional(Type.Array(NodeStatsSchema, { description: 'with scope=cluster: the nodes that answered' })),
  missing: Type.Optional(Type.Array(Type.String(), { description: 'with scope=cluster: the living nodes that did not answer in time' }))
}, { description: 'WebSocket connections' })

const StatsQuery = Type.Object({
  sessionId: Type.Optional(Type.Union([Id], { description: 'list only clients that are subscribed to this session' })),
  userId: Type.Optional(Type.Union([Id], { description: 'list only clients of this user' })),
  limit: Type.Optional(Type.Integer({ minimum: 0, description: 'maximum number of clients to list. With scope=cluster at most 1,000' })),
  scope: Type.Optional(Type.Union([Type.Literal('node'), Type.Literal('cluster')], { description: 'the connections of this node, or of all nodes', default: 'node' }))
})

const ErrorSchema = Type.Object({ statusCode: Type.Integer(), error: Type.String(), message: Type.String() })

export interface StatsRoute {
  readonly url: string
  readonly routeOptions: Omit<StatsRouteOptions, 'path'>
  readonly getStats: (filter: StatsFilter) => Stats
  readonly getClusterStats: (filter: StatsFilter) => Promise<ClusterStats>
  /**
   * Omits ids and refuses filters by id, because either would reveal which users are connected. Refuses questions to all nodes,
   * which reveal their names and cost each of them work.
   */
  readonly withoutIds: boolean
  readonly logSerializers: Record<'req', (request: FastifyRequest) => unknown>
}

/** Registers the stats route, `GET /api/ws/stats`. */
export function registerStatsRoute (app: FastifyInstance, { url, routeOptions, getStats, getClusterStats, withoutIds, logSerializers }: StatsRoute): void {
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
    // Fastify's own serializer writes required fields first, which would change the documented order.
    serializerCompiler: () => (stats) => JSON.stringify(stats),
    handler: async (request, reply) => {
      const { scope, ...filter } = request.query
      if (!withoutIds) return scope === 'cluster' ? await getClusterStats(filter) : getStats(filter)
      if (scope === 'cluster' || filter.sessionId !== undefined || filter.userId !== undefined) {
        return reply.code(403).send({
          statusCode: 403,
          error: 'Forbidden',
          message: 'filters by user or session, and scope=cluster, need a guarded route: set the plugin\'s option stats to { preHandler } or { onRequest }'
        })
      }
      const { clients, ...totals } = getStats(filter)
      return { ...totals, clients: clients.map(({ isAlive, state }) => ({ isAlive, state })) }
    }
  })
}

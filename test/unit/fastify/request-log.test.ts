import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import t from 'tap'
import { redactedRequest, redactRequestLog } from '../../../lib/fastify/request-log.js'
import { captureLog } from '../../support/log.js'

const url = '/ws?token=secret&sessionId=s'
const shownUrl = '/ws?token=[redacted]&sessionId=s'
const request = {
  method: 'GET', url, host: 'app.example', ip: '127.0.0.1', headers: {}, query: { token: 'secret' }, socket: { remotePort: 5 }
} as unknown as FastifyRequest

/** The log output of an app with this serializer. */
function logged (said: unknown): unknown {
  const serializers: Record<string, unknown> = { req: () => said }
  const app = { server: {}, log: { [Symbol.for('pino.serializers')]: serializers }, addHook: () => undefined }
  const { req } = redactRequestLog(app as unknown as FastifyInstance)
  t.equal(serializers.req, req, 'in the app\'s own logger too')
  return req(request)
}

t.test('redactedRequest has Fastify\'s fields, without the token', async (t) => {
  t.strictSame(redactedRequest(request), {
    method: 'GET', url: shownUrl, host: 'app.example', remoteAddress: '127.0.0.1', remotePort: 5
  })
  const injected = { ...request, socket: undefined } as unknown as FastifyRequest
  t.match(redactedRequest(injected), { remotePort: undefined }, 'works for a request without a socket')
})

t.test('without serializers, as in a logger other than pino, it is redactedRequest', async (t) => {
  const app = { server: {}, log: {}, addHook: () => undefined }
  t.equal(redactRequestLog(app as unknown as FastifyInstance).req, redactedRequest)
})

t.test('the output of the app\'s own serializer stays, without the token', async (t) => {
  t.strictSame(logged({ url, path: url, id: 7, nested: null, list: [url] }), {
    url: shownUrl, path: shownUrl, id: 7, nested: null, list: [shownUrl]
  })
  t.strictSame(logged({ query: { token: 'secret', sessionId: 's' } }), { query: { token: '[redacted]', sessionId: 's' } })
  t.strictSame(logged({ query: { sessionId: 's' } }), { query: { sessionId: 's' } })
  t.strictSame(logged({ query: null, headers: undefined }), { query: null, headers: undefined })
  t.strictSame(logged({ headers: { host: 'app.example', authorization: 'Bearer secret', 'sec-websocket-protocol': 'ai-canvas.token.c2VjcmV0' } }), {
    headers: { host: 'app.example', authorization: '[redacted]', 'sec-websocket-protocol': '[redacted]' }
  })
  t.strictSame(logged({ headers: { host: 'app.example' } }), { headers: { host: 'app.example' } }, 'no field is added')
  t.equal(logged(`GET ${url}`), `GET ${shownUrl}`)
  for (const said of [undefined, null, 5, true]) t.equal(logged(said), said)
})

t.test('works for requests without a route', async (t) => {
  const { lines, stream } = captureLog()
  const app = Fastify({ logger: { stream, serializers: { req: redactedRequest } } })
  t.teardown(() => app.close())
  await app.inject('/nowhere?token=secret')
  t.match(lines[0]!.req, { method: 'GET', url: '/nowhere?token=[redacted]' })
})

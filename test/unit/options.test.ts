import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import t from 'tap'
import { defaults, resolveOptions, type ResolvedOptions } from '../../lib/options.js'
import { documentedCode } from '../support/documented.js'
import { FakeClock } from '../support/fake-clock.js'
import { memoryBroker } from '../support/memory-broker.js'

const noop = (): undefined => undefined
const resolve = (options: object = {}): ResolvedOptions => resolveOptions(options)

t.test('without options, every default is the documented one', async (t) => {
  const { websocket, limits, delivery, history, jobs, ...rest } = resolve()
  t.strictSame(rest, {
    path: '/ws',
    prefix: '',
    stats: { url: '/api/ws/stats', routeOptions: {}, isGuarded: false },
    publish: undefined,
    heartbeatIntervalMs: 30_000,
    closeTimeoutMs: 2_000,
    authenticate: undefined,
    authorize: true,
    origins: undefined,
    onMessage: undefined,
    allowCancel: false,
    onCancel: undefined,
    broker: undefined
  })
  t.strictSame(limits, {
    connections: Infinity,
    connectionsPerUser: 100,
    sessionsPerConnection: 250,
    messagesPerSecond: 50,
    burst: 100,
    subscribesPerSecond: 100,
    replayBytesPerSecond: 4_194_304,
    authTimeoutMs: 10_000
  })
  t.strictSame(delivery, { maxOutboxBytes: 1_048_576, maxTotalOutboxBytes: 268_435_456, stallTimeoutMs: 60_000 })
  t.strictSame(history, {
    maxMessages: 1_000, maxBytes: 1_048_576, ttlMs: 300_000, endTtlMs: 86_400_000, maxTotalBytes: 67_108_864, maxStreams: 100_000
  })
  t.strictSame(jobs, { stallAfterMs: 600_000, maxTextUnits: 1_048_576 })
  t.strictSame(websocket, { ...defaults.websocket, maxPayload: 65_536 })
})

t.test('history: false keeps no message, and keeps the limits for the state of jobs', async (t) => {
  for (const history of [false, { maxMessages: 0 }]) {
    t.strictSame(resolve({ history }).history, { ...defaults.history, maxMessages: 0 })
  }
  t.strictSame(resolve({ history: { ttlMs: 1_000, maxTotalBytes: 5 } }).history, { ...defaults.history, ttlMs: 1_000, maxTotalBytes: 5 })
})

t.test('with onMessage, the ws options are the documented ones', async (t) => {
  const { websocket } = resolve({ onMessage: noop })
  t.same(websocket, runInNewContext(`(${documentedCode('Connection Pooling')})`))
  t.equal(websocket.maxPayload, 100 * 1024 * 1024)
})

t.test('a websocket option of the app replaces the default one', async (t) => {
  const { websocket } = resolve({ websocket: { perMessageDeflate: false }, onMessage: noop })
  t.same(websocket, { clientTracking: true, perMessageDeflate: false, maxPayload: 100 * 1024 * 1024 })
  t.equal(websocket.maxPayload, 100 * 1024 * 1024)
  for (const own of [{}, { onMessage: noop }]) {
    const { websocket } = resolve({ ...own, websocket: { maxPayload: 1_000 } })
    t.equal(websocket.maxPayload, 1_000, 'an explicit limit always wins')
  }
  t.equal(resolve({ websocket: { maxPayload: 0 } }).websocket.maxPayload, 0, 'for ws, 0 is no limit')
})

t.test('an undefined option counts as absent', async (t) => {
  const names = ['path', 'prefix', 'stats', 'publish', 'heartbeatIntervalMs', 'closeTimeoutMs', 'authenticate', 'authorize', 'origins', 'onMessage', 'allowCancel',
    'onCancel', 'limits', 'delivery', 'history', 'jobs', 'broker', 'websocket']
  t.strictSame(resolve(Object.fromEntries(names.map((name) => [name, undefined]))), resolve())
  t.strictSame(resolve({ limits: { burst: undefined }, delivery: {}, history: { maxMessages: undefined }, jobs: { stallAfterMs: undefined } }), resolve())
})

t.test('paths', async (t) => {
  t.equal(resolve({ path: '/live' }).path, '/live')
  t.equal(resolve({ stats: '/stats' }).stats?.url, '/stats')
  const prefixed = resolve({ prefix: '/v1' })
  t.equal(prefixed.path, '/v1/ws')
  t.equal(prefixed.stats?.url, '/v1/api/ws/stats')
  t.equal(resolve({ prefix: '/v1/' }).path, '/v1/ws', 'as Fastify joins a prefix')
  t.equal(resolve({ prefix: '' }).path, '/ws')
})

t.test('the stats route', async (t) => {
  t.equal(resolve({ stats: false }).stats, undefined)
  t.strictSame(resolve({ stats: { path: '/stats', preHandler: noop, logLevel: 'warn' } }).stats, {
    url: '/stats', routeOptions: { preHandler: noop, logLevel: 'warn' }, isGuarded: true
  })
  for (const hook of ['onRequest', 'preParsing', 'preValidation', 'preHandler']) {
    t.equal(resolve({ stats: { [hook]: noop } }).stats?.isGuarded, true, hook)
    t.equal(resolve({ stats: { [hook]: [noop] } }).stats?.isGuarded, true)
    for (const none of [undefined, []]) t.equal(resolve({ stats: { [hook]: none } }).stats?.isGuarded, false)
  }
  t.equal(resolve({ stats: { errorHandler: noop } }).stats?.isGuarded, false, 'other options guard nothing')
})

t.test('the publish route is off by default, and needs a guard', async (t) => {
  for (const publish of [undefined, false]) t.equal(resolve({ publish }).publish, undefined)
  t.strictSame(resolve({ prefix: '/v1', publish: { onRequest: noop } }).publish, { url: '/v1/api/ws/publish', routeOptions: { onRequest: noop } })
  for (const hook of ['onRequest', 'preParsing', 'preValidation', 'preHandler']) {
    t.strictSame(resolve({ publish: { path: '/reports', bodyLimit: 10, [hook]: [noop] } }).publish, { url: '/reports', routeOptions: { bodyLimit: 10, [hook]: [noop] } })
    for (const none of [undefined, []]) t.throws(() => resolve({ publish: { [hook]: none } }), { message: /^option "publish" needs a hook that guards the route, .* add onRequest or preHandler/ })
  }
})

t.test('hooks, origins, numbers and a broker are used as given', async (t) => {
  const authorize = (): boolean => true
  const broker = memoryBroker(new FakeClock())
  const resolved = resolve({
    authenticate: noop, authorize, broker, origins: ['https://App.Example.com:443', 'http://localhost:5173/'],
    heartbeatIntervalMs: 0.5, closeTimeoutMs: Infinity, limits: { burst: 7 }, delivery: { stallTimeoutMs: 5 },
    jobs: { stallAfterMs: Infinity }, allowCancel: true, onCancel: noop
  })
  t.equal(resolved.authenticate, noop)
  t.equal(resolved.authorize, authorize)
  t.equal(resolved.broker, broker)
  const without = Object.assign(memoryBroker(new FakeClock()), { unsupported: ['history.maxBytes', 'jobs.maxTextUnits', 'history.maxMessages'] })
  t.equal(resolve({ broker: without, history: { ttlMs: 1 }, jobs: { stallAfterMs: 1 } }).broker, without)
  t.strictSame([...resolved.origins!], ['https://app.example.com', 'http://localhost:5173'], 'as browsers write them')
  t.match(resolved, { heartbeatIntervalMs: 0.5, closeTimeoutMs: Infinity })
  t.strictSame(resolved.limits, { ...defaults.limits, burst: 7 })
  t.strictSame(resolved.jobs, { ...defaults.jobs, stallAfterMs: Infinity }, 'Infinity disables the stall timeout')
  t.equal(resolved.allowCancel, true)
  t.equal(resolved.onCancel, noop)
  t.strictSame(resolved.delivery, { ...defaults.delivery, stallTimeoutMs: 5 })
  t.equal(resolve({ authenticate: noop, authorize: true }).authorize, true)
  t.strictSame([...resolve({ origins: ['*'] }).origins!], ['*'])
  t.strictSame([...resolve({ origins: [] }).origins!], [])
})

t.test('authenticate requires authorize, and the error names both solutions', async (t) => {
  t.throws(() => resolve({ authenticate: noop }), { code: 'AICW_ERR_AUTHORIZE_MISSING', message: /"authorize".*function \(identity, action\).*true/ })
})

t.test('an unknown name throws an error that lists the known ones', async (t) => {
  for (const name of ['heartbeatMs', 'toString', 'Path', 'max connections', '']) {
    const error = t.throws(() => resolve({ [name]: undefined }), { code: 'AICW_ERR_INVALID_OPTION', statusCode: 500 }, name) as Error
    t.ok(error.message.startsWith(`option "${name}" is unknown: the options are path, prefix, stats, `), error.message)
  }
  t.throws(() => resolve({ authenticate: noop, autorize: true }), { code: 'AICW_ERR_INVALID_OPTION' }, 'even if another option is invalid too')
})

t.test('options that Fastify accepts for every plugin are ignored', async (t) => {
  t.strictSame(resolve({ logLevel: 'warn', logSerializers: { user: noop }, prefix: '/v1' }), resolve({ prefix: '/v1' }))
})

t.test('an invalid value throws an error that names the option and the valid values', async (t) => {
  const number = /must be a number above 0/
  const aFunction = /must be a function/
  const path = /must be a path that begins with "\/"/
  const wrong: Array<[option: string, fix: RegExp, options: object]> = [
    ...['ws', '', 5, true, {}].map((value): [string, RegExp, object] => ['path', path, { path: value }]),
    ...['v1', 5, true, {}].map((value): [string, RegExp, object] => ['prefix', path, { prefix: value }]),
    ...['stats', '', { path: 'stats' }, { path: 5 }].map((value): [string, RegExp, object] => ['stats', path, { stats: value }]),
    ...[true, 5, noop, []].map((value): [string, RegExp, object] => ['stats', /must be a path, route options such as \{ preHandler \}, or false/, { stats: value }]),
    ...[true, 5, '/publish', noop, [], null].map((value): [string, RegExp, object] => ['publish', /must be route options such as \{ onRequest \}, or false|needs a hook/, { publish: value }]),
    ...['publish', '', 5].map((value): [string, RegExp, object] => ['publish', path, { publish: { path: value, onRequest: noop } }]),
    ...['heartbeatIntervalMs', 'closeTimeoutMs'].flatMap((name) => [0, -1, NaN, '30000', true, {}].map((value): [string, RegExp, object] => [name, number, { [name]: value }])),
    ...['authenticate', 'onMessage', 'onCancel'].flatMap((name) => [null, true, 'x', {}].map((value): [string, RegExp, object] => [name, aFunction, { [name]: value }])),
    ...[null, false, 'all', {}].map((value): [string, RegExp, object] => ['authorize', /must be a function, or true/, { authorize: value }]),
    ...['https://a.example', {}, 5].map((value): [string, RegExp, object] => ['origins', /must be an array of origins such as "https:/, { origins: value }]),
    ...['a.example', 'null', '', 'file:///tmp', 5, null, 5n, Symbol('https://a.example'), Object.create(null)].map((value): [string, RegExp, object] => ['origins', /write an origin as "https:.*or "\*" for any/, { origins: [value] }]),
    ...Object.keys(defaults.limits).flatMap((name) => [0, -1, NaN, '5'].map((value): [string, RegExp, object] => [`limits.${name}`, number, { limits: { [name]: value } }])),
    ...Object.keys(defaults.delivery).flatMap((name) => [0, -1, NaN, '5'].map((value): [string, RegExp, object] => [`delivery.${name}`, number, { delivery: { [name]: value } }])),
    ...[-1, NaN, '5'].map((value): [string, RegExp, object] => ['history.maxMessages', /must be 0 or a number above 0/, { history: { maxMessages: value } }]),
    ...Object.keys(defaults.history).filter((name) => name !== 'maxMessages').flatMap((name) => [0, -1, NaN, '5'].map((value): [string, RegExp, object] => [`history.${name}`, number, { history: { [name]: value } }])),
    ...Object.keys(defaults.jobs).flatMap((name) => [0, -1, NaN, '5'].map((value): [string, RegExp, object] => [`jobs.${name}`, number, { jobs: { [name]: value } }])),
    ...[1, 'yes', {}, noop].map((value): [string, RegExp, object] => ['allowCancel', /must be true or false/, { allowCancel: value }]),
    ['history.maxAge', /is unknown: the options of history are maxMessages, .*maxStreams/, { history: { maxAge: 5 } }],
    ['jobs.timeout', /is unknown: the options of jobs are stallAfterMs/, { jobs: { timeout: 5 } }],
    ['limits.bursts', /is unknown: the options of limits are connections, .*burst/, { limits: { bursts: 5 } }],
    ['delivery.toString', /is unknown: the options of delivery are maxOutboxBytes/, { delivery: { toString: 5 } }],
    ...[5, 'none', true, []].flatMap((value): Array<[string, RegExp, object]> => [
      ['limits', /must be an object/, { limits: value }],
      ['delivery', /must be an object/, { delivery: value }],
      ['history', /must be an object/, { history: value }],
      ['jobs', /must be an object/, { jobs: value }],
      ['websocket', /must be an object/, { websocket: value }]
    ]),
    ...[-1, NaN, '64kb'].map((value): [string, RegExp, object] => ['websocket.maxPayload', /must be a number of bytes, or 0 for no limit/, { websocket: { maxPayload: value } }]),
    ['history.maxBytes', /is not supported by the given broker: remove it/, { broker: Object.assign(memoryBroker(new FakeClock()), { unsupported: ['history.maxBytes'] }), history: { maxBytes: 5 } }],
    ...[null, 'redis://localhost', {}, 5, { publish: noop }].map((value): [string, RegExp, object] => ['broker', /must be a Broker: an object with open, publish, join, leave, currentJob, adopt, release, revoke, cancel, close/, { broker: value }])
  ]
  for (const [option, fix, options] of wrong) {
    const error = t.throws(() => resolve(options), { code: 'AICW_ERR_INVALID_OPTION', message: fix, statusCode: 500 }, inspect(options)) as Error
    t.ok(error.message.startsWith(`option "${option}" `), error.message)
  }
})

t.test('any value of any option is accepted, or throws an error of this package', async () => {
  const names = ['path', 'prefix', 'stats', 'publish', 'heartbeatIntervalMs', 'closeTimeoutMs', 'authenticate', 'authorize', 'origins', 'onMessage', 'allowCancel',
    'onCancel', 'limits', 'delivery', 'history', 'jobs', 'broker', 'websocket']
  const value = fc.anything({ withBigInt: true, withNullPrototype: true, withDate: true, withMap: true, withSparseArray: true, withTypedArray: true })
  fc.assert(fc.property(fc.constantFrom(...names), value, (name, given) => {
    try {
      resolve({ [name]: given })
    } catch (error) {
      assert.match(String((error as { code?: unknown }).code), /^AICW_ERR_/)
    }
  }), { numRuns: 2_000 })
})

import type { Random } from '../random.js'

/** Returns an object with a cycle, which JSON can't represent. */
function cycle (): object {
  const value: Record<string, unknown> = {}
  value.self = value
  return value
}

function nested (depth: number): object {
  let value: object = {}
  for (let i = 0; i < depth; i++) value = { value }
  return value
}

function boom (): never {
  throw new Error('thrown by an odd value')
}

/** Returns an object whose operations may throw. */
function hostileProxy (random: Random, target: object): object {
  const traps = ['get', 'has', 'ownKeys', 'getOwnPropertyDescriptor', 'getPrototypeOf'].filter(() => random.chance(0.4))
  return new Proxy(target, Object.fromEntries(traps.map((trap) => [trap, boom])))
}

function revokedProxy (): object {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

/** Returns an error whose fields can't be read or have the wrong type, or another value that can be thrown. */
export function oddError (random: Random): unknown {
  return random.pick<() => unknown>([
    () => new Error('plain'), () => undefined, () => null, () => 'a text', () => 5, () => 1n, () => Symbol('s'), () => revokedProxy(), () => cycle(),
    () => Object.defineProperty(new Error('x'), 'message', { get: boom }),
    () => Object.defineProperty(new Error('x'), 'stack', { get: boom }),
    () => Object.defineProperty(new Error('x'), 'name', { get: boom }),
    () => Object.defineProperty(new Error('x'), 'constructor', { value: undefined }),
    () => Object.assign(new Error('x'), { cause: cycle(), message: 1n, status: 'x', code: {}, error: revokedProxy() }),
    () => Object.defineProperty(new Error('x'), 'status', { get: boom }),
    () => Object.defineProperty(new Error('x'), 'statusCode', { get: boom }),
    () => Object.assign(new Error('x'), { toJSON: boom }),
    () => hostileProxy(random, new Error('x')), () => hostileProxy(random, {}), () => Object.create(null) as object,
    () => ({ message: { toString: boom }, type: { toString: boom } }), () => ({ get message (): string { return boom() }, type: 'x' })
  ])()
}

/** Returns an unexpected value. */
export function oddValue (random: Random): unknown {
  return random.pick<() => unknown>([
    () => undefined, () => null, () => true, () => 0, () => NaN, () => -1, () => 1n, () => Symbol('s'), () => '', () => 'text', () => 'x'.repeat(200_000), () => '\ud800',
    () => boom, () => [], () => [1n], () => new Date(NaN), () => new Map([[1, 2]]), () => Buffer.from('x'), () => new Uint8Array(3), () => /x/,
    () => cycle(), () => ({ deep: cycle() }), () => ({ n: 1n }), () => nested(20_000), () => Object.create(null) as object, () => Object.freeze({ a: 1 }),
    () => ({ get x (): never { return boom() } }), () => ({ toJSON: boom }), () => ({ toJSON: () => undefined }), () => ({ toJSON: () => 1n }), () => ({ toJSON: () => 'text' }),
    () => ({ toJSON: cycle }), () => ({ toJSON: () => ({ toJSON: () => ({ toJSON: boom }) }) }), () => ({ a: { toJSON: boom } }), () => ({ a: { toJSON: () => 1n } }),
    () => hostileProxy(random, {}), () => hostileProxy(random, { type: 'x', a: 1 }), () => hostileProxy(random, []), () => revokedProxy(),
    () => ({ type: 5 }), () => ({ type: 'ai_complete' }), () => ({ type: 'x', seq: 1 }), () => ({ delta: 5, offset: 'x' }), () => ({ delta: 'x'.repeat(5_000), chunksReceived: '3' }),
    () => ({ delta: cycle(), chunksReceived: NaN }), () => ({ chunks: {}, contentLength: boom }), () => ({ ['__proto__']: 1 }), () => ({ then: boom }), () => ({ get then (): never { return boom() } }),
    () => ({ list: Array.from({ length: 20_000 }, (_, i) => i) }), () => Promise.resolve(1), () => oddError(random)
  ])()
}

/** Returns a promise that rejects with the given value, which need not be an error. */
export async function rejected (reason: unknown): Promise<never> {
  throw reason
}

/** Behaves like a faulty hook of the app: throws, rejects, never settles, or returns an unexpected value. */
export function oddAnswer (random: Random): unknown {
  switch (random.weighted({ value: 30, throw: 25, reject: 25, never: 10, thenable: 10 })) {
    case 'value': return oddValue(random)
    case 'throw': throw oddError(random)
    case 'reject': return rejected(oddError(random))
    case 'never': return new Promise(() => { /* never settles */ })
    case 'thenable': return random.pick<unknown>([
      { then: boom },
      { then: (_resolve: unknown, reject: (error: unknown) => void) => { reject(oddError(random)) } },
      { then: (resolve: (value: unknown) => void) => { resolve(1); resolve(2) } },
      { get then (): never { return boom() } }
    ])
  }
}

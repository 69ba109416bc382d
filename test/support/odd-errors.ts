/**
 * Unusual values that an app may throw, such as objects whose properties can't be read and values without properties. Each call
 * returns a new value.
 */
export const oddErrors: Readonly<Record<string, () => unknown>> = {
  'a message whose getter throws': () => withGetter(new Error(), 'message'),
  'a stack whose getter throws': () => withGetter(new Error('m'), 'stack'),
  'a name whose getter throws': () => withGetter(new Error('m'), 'name'),
  'a statusCode whose getter throws': () => withGetter(new Error('m'), 'statusCode'),
  'a status whose getter throws': () => withGetter(new Error('m'), 'status'),
  'a code whose getter throws': () => withGetter(new Error('m'), 'code'),
  'a cause whose getter throws': () => withGetter(new Error('m'), 'cause'),
  'a constructor whose getter throws': () => withGetter(new Error('m'), 'constructor'),
  'a response whose getter throws': () => withGetter(new Error('m'), 'response'),
  'a message that is a symbol': () => Object.assign(new Error(), { message: Symbol('m') }),
  'a revoked proxy of an error': () => revoked(new Error('m')),
  'a revoked proxy of a function': () => revoked(() => undefined),
  'an error whose cause is a revoked proxy': () => new Error('m', { cause: revoked({}) }),
  'a proxy whose every trap throws': () => new Proxy(new Error('m'), throwingTraps),
  'an object whose toJSON throws': () => ({ message: 'm', toJSON: () => { throw new Error('no') } }),
  'an object whose toString throws': () => ({ toString: () => { throw new Error('no') } }),
  'an object whose then throws': () => withGetter({}, 'then'),
  'an object without a prototype': () => Object.create(null) as unknown,
  'an error that holds itself': () => {
    const error = new Error('m')
    return Object.assign(error, { cause: error, errors: [error], self: error })
  },
  'a symbol': () => Symbol('s'),
  'a BigInt': () => 1n,
  'null': () => null,
  'nothing': () => undefined,
  'a function': () => () => undefined,
  'a text': () => 'text'
}

function withGetter (target: object, name: string): unknown {
  return Object.defineProperty(target, name, { enumerable: true, get: () => { throw new Error('it can\'t be read') } })
}

function revoked (target: object): unknown {
  const { proxy, revoke } = Proxy.revocable(target, {})
  revoke()
  return proxy
}

const fail = (): never => { throw new Error('trapped') }

const throwingTraps: ProxyHandler<object> = {
  get: fail, has: fail, getPrototypeOf: fail, ownKeys: fail, getOwnPropertyDescriptor: fail
}

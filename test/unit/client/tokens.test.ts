import t from 'tap'
import { protocolsFor } from '../../../lib/client/socket.js'
import { clientOn, FakePage, settled, toldOf } from '../../support/fake-page.js'

t.test('the token is sent in a subprotocol as base64url, whatever its characters', async (t) => {
  const page = new FakePage()
  clientOn(page, { getToken: () => 'tökên?>/~' }).connect()
  await settled()
  t.same(page.socket.protocols, ['ai-canvas.v1', `ai-canvas.token.${Buffer.from('tökên?>/~').toString('base64url')}`])
  t.notOk('token' in page.socket.query)
})

t.test('a token is encoded as UTF-8 without `TextEncoder`', async (t) => {
  for (const token of ['a', '100%', '%41', 'ü😀€', '\ud800x', 'a'.repeat(70_000)]) {
    t.equal(protocolsFor(token)[1], `ai-canvas.token.${Buffer.from(token).toString('base64url')}`)
  }
})

t.test('if the environment can\'t encode the token, the attempt fails', async (t) => {
  const page = new FakePage()
  const client = clientOn(page, { getToken: () => 'x' })
  t.intercept(globalThis, 'btoa', { value: undefined })
  client.connect()
  await settled()
  t.same([client.state, client.reason], ['waiting', 'token'])
  t.match(toldOf(client, 'error'), [{ code: 'token_failed', message: /btoa/ }, {}])
})

t.test('`getToken` may return no token: `undefined`, `null` or an empty string', async (t) => {
  for (const token of [undefined, null, '']) {
    for (const getToken of [() => token, async () => token]) {
      const page = new FakePage()
      clientOn(page, { getToken }).connect()
      await settled()
      t.same(page.socket.protocols, ['ai-canvas.v1'], String(token))
    }
  }
})

t.test('a token that is not a string fails the attempt, and the error names its type', async (t) => {
  for (const token of [7, false, {}, ['a'], () => 'a', Symbol('a')]) {
    const page = new FakePage()
    const client = clientOn(page, { getToken: () => token as unknown as string })
    client.connect()
    await settled()
    t.same([client.state, client.reason, page.sockets.length], ['waiting', 'token', 0])
    t.match(toldOf(client, 'error')[0], { code: 'token_failed', message: `getToken failed: it returned a ${typeof token}`, cause: TypeError })
  }
})

t.test('the client continues, whatever `getToken` throws', async (t) => {
  for (const [thrown, message] of [[undefined, ''], [null, ''], ['no', 'no'], [Object.create(null), ''], [{ code: 'EFAIL' }, 'EFAIL'], [new Error('no'), 'no']] as const) {
    const page = new FakePage()
    const client = clientOn(page, { getToken: async () => { throw thrown } })
    client.connect()
    await settled()
    t.match(toldOf(client, 'error')[0], { code: 'token_failed', message: `getToken failed: ${message}` })
    t.equal(client.state, 'waiting')
  }
})

t.test('a token that is too large for a header causes a warning before the attempt', async (t) => {
  const page = new FakePage()
  const client = clientOn(page, { getToken: () => 'x'.repeat(6200) })
  client.connect()
  await settled()
  t.match(client.told.filter(([kind]) => kind === 'error'), [['error', { code: 'token_too_large', message: /header of 8297 bytes: .* 8192/ }]])
  t.same([client.state, page.sockets.length], ['connecting', 1], 'the server may accept it')

  const ordinary = clientOn(page, { getToken: () => 'x'.repeat(6000) })
  ordinary.connect()
  await settled()
  t.same(toldOf(ordinary, 'error'), [])

  const huge = clientOn(page, { getToken: () => 'x'.repeat(1_000_000) })
  huge.connect()
  await settled()
  t.equal(huge.state, 'connecting', 'an attempt is made even with a very large one')
})

t.test('a listener may close the client on that warning', async (t) => {
  const page = new FakePage()
  const client = clientOn(page, { getToken: () => 'x'.repeat(10_000), onError: () => { client.close() } })
  client.connect()
  await settled()
  t.same([client.state, page.sockets.length], ['closed', 0])
})

t.test('the attempt fails if `getToken` throws or rejects', async (t) => {
  for (const getToken of [() => { throw new Error('no') }, async () => { throw new Error('no') }]) {
    const page = new FakePage()
    const client = clientOn(page, { getToken })
    client.connect()
    await settled()
    t.same([client.state, client.reason, page.sockets.length], ['waiting', 'token', 0])
    t.match(toldOf(client, 'error')[0], { code: 'token_failed', cause: { message: 'no' } })
    page.clock.advance(1500)
    await settled()
    t.equal(toldOf(client, 'error').filter(({ code }) => code === 'token_failed').length, 2)
  }
})

t.test('a token that arrives too late, or after the client was closed, opens no connection', async (t) => {
  const page = new FakePage()
  const tokens: Array<(token: string) => void> = []
  const client = clientOn(page, { getToken: () => new Promise<string>((resolve) => { tokens.push(resolve) }) })
  client.connect()
  page.clock.advance(10_000)
  t.equal(client.reason, 'timeout')
  page.clock.advance(1500)
  tokens[0]!('late')
  await settled()
  t.equal(page.sockets.length, 0)
  tokens[1]!('in time')
  await settled()
  t.equal(page.sockets.length, 1)
  client.close()
  client.connect()
  client.close()
  tokens[2]!('unwanted')
  await settled()
  t.equal(page.sockets.length, 1)
})

t.test('a token that fails after the client was closed is not an error', async (t) => {
  const page = new FakePage()
  let fail: ((error: Error) => void) | undefined
  const client = clientOn(page, { getToken: () => new Promise<string>((_resolve, reject) => { fail = reject }) })
  client.connect()
  client.close()
  client.told.length = 0
  fail!(new Error('too late'))
  await settled()
  t.same(client.told, [])
})

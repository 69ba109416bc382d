import { Value } from '@sinclair/typebox/value'
import t from 'tap'
import { ClientMessage, errorCodes, reservedTypes, ServerMessage } from '../../../lib/protocol/index.js'
import * as schemas from '../../../lib/protocol/messages.js'
import { documentedCode } from '../../support/documented.js'

const parse = (text: string): { type: string, [field: string]: unknown } => JSON.parse(text) as { type: string }

t.test('the documented messages match the schemas', async (t) => {
  const fromClient = { Ping: schemas.Ping, Subscribe: schemas.Subscribe, Unsubscribe: schemas.Unsubscribe }
  for (const [heading, schema] of Object.entries(fromClient)) {
    const message = parse(documentedCode(heading))
    t.ok(Value.Check(schema, message), heading)
    t.ok(Value.Check(ClientMessage, message))
    t.notOk(Value.Check(ServerMessage, message))
  }
  const fromServer = {
    'Connection Established': schemas.ConnectionEstablished,
    'AI Processing Started': schemas.AIStarted,
    'AI Progress Update': schemas.AIProgressed,
    'AI Processing Complete': schemas.AICompleted,
    'AI Error': schemas.AIFailed
  }
  for (const [heading, schema] of Object.entries(fromServer)) {
    const message = parse(documentedCode(heading))
    t.ok(Value.Check(schema, message), heading)
    t.ok(Value.Check(ServerMessage, message))
    t.ok(Value.Check(schema, { ...message, added: 1 }), 'further fields are allowed')
    for (const field of Object.keys(message)) {
      const rest = Object.fromEntries(Object.entries(message).filter(([name]) => name !== field))
      t.notOk(Value.Check(schema, rest), `${heading} needs its ${field}`)
    }
    t.notOk(Value.Check(schema, { ...message, timestamp: 'today' }))
  }
})

t.test('subscribe and unsubscribe name one session or many', async (t) => {
  for (const message of [
    { type: 'subscribe', sessionId: 'a', since: 5, have: [] },
    { type: 'subscribe', sessions: [{ sessionId: 'a', since: 'e:1', have: { j: 1 } }, { sessionId: 'b' }] },
    { type: 'unsubscribe', sessionId: 'a' },
    { type: 'unsubscribe', sessions: ['a', 'b'] }
  ] satisfies schemas.ClientMessage[]) t.ok(Value.Check(ClientMessage, message), JSON.stringify(message))
  for (const message of [
    { type: 'subscribe' },
    { type: 'subscribe', sessions: [] },
    { type: 'subscribe', sessions: ['a'] },
    { type: 'subscribe', sessions: [{}] },
    { type: 'subscribe', sessions: [{ sessionId: '' }] },
    { type: 'subscribe', sessions: { sessionId: 'a' } },
    { type: 'subscribe', sessionId: 'a', sessions: [{ sessionId: 'b' }] },
    { type: 'unsubscribe', sessions: [] },
    { type: 'unsubscribe', sessions: [{ sessionId: 'a' }] },
    { type: 'unsubscribe', sessions: [''] },
    { type: 'unsubscribe', sessionId: 'a', sessions: ['b'] }
  ]) t.notOk(Value.Check(ClientMessage, message), JSON.stringify(message))
  t.ok(Value.Check(ClientMessage, { type: 'subscribe', sessions: [{ sessionId: 'a', more: 1 }], more: 1 }), 'further fields are allowed')
})

t.test('the server\'s replies match the schemas', async (t) => {
  const timestamp = '2024-01-01T00:00:00.000Z'
  for (const message of [
    { type: 'pong', timestamp },
    { type: 'subscribed', sessionId: 'session_123', timestamp },
    { type: 'subscribed', sessionId: 'session_123', timestamp, epoch: 'a.0', seq: 0 },
    { type: 'unsubscribed', timestamp },
    { type: 'unsubscribed', timestamp, sessionId: 's', reason: 'revoked' },
    { type: 'batch_update', sessionId: 's', messages: [{}, 1], timestamp },
    ...Object.keys(errorCodes).map((code) => ({ type: 'error', code, message: 'm', timestamp }))
  ]) t.ok(Value.Check(ServerMessage, message), JSON.stringify(message))
  for (const message of [
    { type: 'error', code: 'unheard_of', message: 'm', timestamp },
    { type: 'subscribed', sessionId: '', timestamp },
    { type: 'subscribed', sessionId: 's', timestamp, seq: -1 },
    { type: 'unsubscribed', timestamp, reason: 'whim' },
    { type: 'pong' }
  ]) t.notOk(Value.Check(ServerMessage, message), JSON.stringify(message))
})

t.test('every type of server message is reserved, except batches, which an app may send', async (t) => {
  const spoken = ServerMessage.anyOf.map((schema) => schema.properties.type.const)
  t.strictSame(new Set([...reservedTypes, 'batch_update']), new Set(spoken))
})

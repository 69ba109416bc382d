import t from 'tap'
import { closeCodes, errorCodes, reconnectRule, type Reconnect } from '../../../lib/protocol/index.js'

/** What a client does after each code. Repeated here on purpose, because changing a rule affects every client. */
const rules: Record<number, Reconnect> = {
  1000: 'never',
  1001: 'backoff',
  1002: 'backoff',
  1005: 'backoff',
  1006: 'backoff',
  1007: 'backoff',
  1008: 'fresh-token',
  1009: 'backoff',
  1011: 'backoff',
  1012: 'soon',
  1013: 'later',
  4000: 'soon',
  4001: 'later',
  4002: 'soon',
  4500: 'never',
  4501: 'never',
  4502: 'never'
}

t.test('each close code has its reconnect rule', async (t) => {
  t.strictSame(Object.fromEntries(Object.values(closeCodes).map(({ code, reconnect }) => [code, reconnect])), rules)
  for (const [code, rule] of Object.entries(rules)) t.equal(reconnectRule(Number(code)), rule, code)
})

t.test('the protocol\'s own codes follow the rule of their range, known or not', async (t) => {
  for (let code = 4000; code <= 4499; code++) if (reconnectRule(code) === 'never') t.fail(String(code))
  for (let code = 4500; code <= 4999; code++) if (reconnectRule(code) !== 'never') t.fail(String(code))
})

t.test('a client reconnects after an unknown code', async (t) => {
  for (const code of [0, 999, 1003, 1004, 1010, 1014, 1015, 2000, 3000, 3999, 4321, 5000, -1, NaN]) {
    t.equal(reconnectRule(code), 'backoff', String(code))
  }
})

t.test('each reason fits into a close frame', async (t) => {
  for (const { code, reason } of Object.values(closeCodes)) {
    t.ok(Buffer.byteLength(reason) <= 123, String(code))
    t.equal(reason === '', code === 1005 || code === 1006, `${code}: those two are in no frame`)
  }
  t.equal(closeCodes.unauthorized.reason, 'Unauthorized', 'as documented')
})

t.test('each error code says whether a retry can help', async (t) => {
  t.strictSame(errorCodes, {
    invalid_json: { retry: false },
    invalid_message: { retry: false },
    binary_not_supported: { retry: false },
    unknown_type: { retry: false },
    invalid_session_id: { retry: false },
    too_many_sessions: { retry: false },
    forbidden: { retry: false },
    not_cancellable: { retry: false },
    unavailable: { retry: true },
    internal_error: { retry: true },
    rate_limited: { retry: true }
  })
})

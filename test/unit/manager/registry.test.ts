import t from 'tap'
import { forgetManager, getWebSocketManager, rememberManager } from '../../../lib/manager/registry.js'
import { createServer } from '../../support/server.js'

t.test('the one manager that is open is found, and with none or several an error says what to do', async (t) => {
  const [{ manager: first }, { manager: second }] = [createServer(), createServer()]
  t.throws(getWebSocketManager, { code: 'AICW_ERR_NO_MANAGER', message: /await app\.register\(aiCanvasWs\)/ })
  rememberManager(first)
  t.equal(getWebSocketManager(), first)
  rememberManager(second)
  t.throws(getWebSocketManager, { code: 'AICW_ERR_MANY_MANAGERS', message: /^2 apps .*app\.wsManager/ })
  forgetManager(first)
  forgetManager(first)
  t.equal(getWebSocketManager(), second)
  forgetManager(second)
  t.throws(getWebSocketManager, { code: 'AICW_ERR_NO_MANAGER' })
})

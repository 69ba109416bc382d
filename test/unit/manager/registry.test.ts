import t from 'tap'
import { forgetManager, getWebSocketManager, rememberManager } from '../../../lib/manager/registry.js'
import { createServer } from '../../support/server.js'

t.test('getWebSocketManager returns the only open manager, and throws for none or several', async (t) => {
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

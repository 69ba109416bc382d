import { errors } from '../util/errors.js'
import type { WebSocketManager } from './manager.js'

/**
 * Managers of the open apps in this process. This is the only module state, because the documented `getWebSocketManager()`
 * takes no argument.
 */
const open = new Set<WebSocketManager>()

export function rememberManager (manager: WebSocketManager): void {
  open.add(manager)
}

export function forgetManager (manager: WebSocketManager): void {
  open.delete(manager)
}

/**
 * Returns the manager of the app that is open in this process, for code without access to the app.
 *
 * @throws `AICW_ERR_NO_MANAGER` before an app has registered the plugin and after it has closed. `AICW_ERR_MANY_MANAGERS` if
 * several apps are open, as in parallel tests: use `app.wsManager` there.
 */
export function getWebSocketManager (): WebSocketManager {
  const [manager] = open
  if (manager === undefined) throw new errors.NoManager()
  if (open.size > 1) throw new errors.ManyManagers(open.size)
  return manager
}

import { errors } from '../util/errors.js'
import type { WebSocketManager } from './manager.js'

/**
 * The managers of the apps that are open in this process. The one piece of state that belongs to the module: the
 * documented `getWebSocketManager()` takes no argument, so there is nowhere else to look.
 */
const open = new Set<WebSocketManager>()

export function rememberManager (manager: WebSocketManager): void {
  open.add(manager)
}

export function forgetManager (manager: WebSocketManager): void {
  open.delete(manager)
}

/**
 * The manager of the app that is open in this process, for code that has no app at hand.
 *
 * @throws `AICW_ERR_NO_MANAGER` before an app registered the plugin and after it closed, `AICW_ERR_MANY_MANAGERS` when
 * several apps are open, as in tests that run side by side: use `app.wsManager` there.
 */
export function getWebSocketManager (): WebSocketManager {
  const [manager] = open
  if (manager === undefined) throw new errors.NoManager()
  if (open.size > 1) throw new errors.ManyManagers(open.size)
  return manager
}

import { once } from 'node:events'
import { createServer, IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import t from 'tap'
import { RoutePaths } from '../../../lib/fastify/route-paths.js'
import { UpgradeGuard } from '../../../lib/fastify/upgrade-guard.js'
import { Upgrades } from '../../../lib/fastify/upgrades.js'
import { FakeClock } from '../../support/fake-clock.js'

t.test('a socket that became a WebSocket releases its response, if it has one', async (t) => {
  const guard = new UpgradeGuard({ clock: new FakeClock(), lingerMs: 100 })
  const upgrades = new Upgrades({ server: createServer(), guard, paths: new RoutePaths(), websockets: undefined, hooksTimeoutMs: 100 })
  const socket = new Socket()
  t.teardown(() => { socket.destroy() })
  guard.watch(socket, 100)
  const response = new ServerResponse(new IncomingMessage(socket))
  response.assignSocket(socket)
  const closed = once(response, 'close')
  upgrades.accepted(socket)
  await closed
  t.same([response.socket, guard.size], [null, 0])
  upgrades.accepted(socket)
  t.equal(socket.destroyed, false, 'a second time changes nothing')
})

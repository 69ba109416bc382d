import t from 'tap'
import { RoutePaths } from '../../../lib/fastify/route-paths.js'

function paths (...patterns: string[]): RoutePaths {
  const set = new RoutePaths()
  for (const pattern of patterns) set.add(pattern)
  return set
}

t.test('a URL may match a route', (t) => {
  const cases: Array<[pattern: string, urls: string[], others: string[]]> = [
    ['/ws', ['/ws', '/ws?x=/y', '/WS', '//ws', '/ws/', '/ws#x', '/ws;x', '/%77s'], ['/', '/wss', '/ws/x', '/x/ws', '/%77', '/ws%2fx', '/ws%']],
    ['/', ['/', '//', '/?x'], ['/x']],
    ['/v1/live.ws', ['/v1/live.ws'], ['/v1/livexws', '/v1', '/v1/live.ws/x']],
    ['/rooms/:id', ['/rooms/1', '/rooms/a%20b', '/rooms/'], ['/rooms/1/2', '/room/1']],
    ['/rooms/:id?', ['/rooms', '/rooms/1'], ['/rooms/1/2']],
    ['/:tenant/ws', ['/a/ws'], ['/socket.io/?EIO=4', '/ws']],
    ['/at/:hour(^\\d{2})h:minute(^(?:[0-5]\\d)$)m/ws', ['/at/12h30m/ws'], ['/at/12h30m']],
    ['/file-:name.:ext/ws', ['/file-a.txt/ws'], ['/filx-a/ws']],
    ['/files/*', ['/files/', '/files/a/b'], ['/file', '/x/files/']],
    ['*', ['/', '/anything/at?all'], []],
    ['/a::b', ['/a:b'], ['/axb']],
    ['/a(b)c', ['/ac'], []],
    ['/été', ['/%C3%A9t%C3%A9', '/été'], ['/ete']]
  ]
  for (const [pattern, urls, others] of cases) {
    for (const url of urls) t.equal(paths(pattern).mayMatch(url), true, `${pattern} ${url}`)
    for (const url of others) t.equal(paths(pattern).mayMatch(url), false, `${pattern} ${url}`)
  }
  t.end()
})

t.test('any of several routes may match, and nothing matches without routes', (t) => {
  const set = paths()
  t.equal(set.mayMatch('/ws'), false)
  set.add('/ws')
  t.equal(set.mayMatch('/ws'), true)
  t.equal(set.mayMatch('/other'), false)
  set.add('/other')
  t.equal(set.mayMatch('/other'), true)
  t.end()
})

t.test('the longest URL that Node accepts is matched quickly', (t) => {
  const set = paths('/:a-:b-:c/:d-:e/ws', '/x/:y/*')
  // CPU time of this process, independent of the machine's load
  const since = process.cpuUsage()
  for (const url of ['/'.repeat(16_000), `/${'-'.repeat(16_000)}`, '/-'.repeat(8000)]) t.equal(set.mayMatch(`${url}!`), false)
  t.ok(process.cpuUsage(since).user < 1_000_000)
  t.end()
})

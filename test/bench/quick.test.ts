import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { NOT_MEASURED } from '../support/child.js'
import { withoutRedis } from '../support/redis-server.js'

// Checks that the benchmarks of several nodes still run and that every message arrives. The figures of such short runs mean nothing.

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const withoutBuild = !existsSync(`${ROOT}dist`) && process.env.CI !== 'true' && 'the package is not built: run "npm run build"'
const options = { skip: withoutRedis || withoutBuild, timeout: 240_000 }

function run (...args: string[]): { code: number | null, output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--import=tsx', ...args], { cwd: ROOT, encoding: 'utf8', env: { ...process.env, ...NOT_MEASURED } })
  return { code: status, output: stdout + stderr }
}

t.test('three nodes deliver everything once, also to clients that move between them', options, async (t) => {
  const { code, output } = run('test/bench/cluster/run.ts', '--quick', '--only', 'ours', 'cluster-blips')
  t.equal(code, 0, output)
  t.match(output, /\| cluster-blips +\| delivered: ours +\| 100\.000 %/)
})

t.test('the operations of the broker are measured', options, async (t) => {
  const { code, output } = run('test/bench/redis/run.ts', '--rounds', '1', '--operations', '60')
  t.equal(code, 0, output)
  t.match(output, /^\| join, 1 MiB of text +\| [\d.]+/m)
  t.match(output, /^CPU of a node .* with ioredis, .* with iovalkey; ratio [\d.]+/m)
})

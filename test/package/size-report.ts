import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bounds, others, ownSizes, sizeOf } from './size.js'

// `npm run size` prints the sizes of the client and the hooks, and fails if one of them is too large. With `--others` it also
// prints the sizes of other clients by the same measure. For that it installs them from npm into a temporary folder.

const inKB = (bytes: number): string => `${(bytes / 1024).toFixed(1)} KB`

function print (name: string, bytes: number, bound?: number): void {
  process.stdout.write(`${name.padEnd(28)} ${String(bytes).padStart(6)} bytes, ${inKB(bytes)}${bound === undefined ? '' : ` of ${inKB(bound)}`}\n`)
}

async function printOwn (): Promise<void> {
  const sizes = await ownSizes()
  for (const part of ['client', 'react'] as const) {
    print(`ai-canvas-ws/${part}`, sizes[part], bounds[part])
    if (sizes[part] <= bounds[part]) continue
    process.stdout.write(`${part} is ${sizes[part] - bounds[part]} bytes too large\n`)
    process.exitCode = 1
  }
}

async function printOthers (): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'ai-canvas-sizes-'))
  try {
    writeFileSync(join(directory, 'package.json'), '{ "private": true }')
    const packages = others.map(([name, version]) => `${name}@${version}`)
    execFileSync('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--silent', ...packages], { cwd: directory, stdio: 'inherit' })
    for (const [name, version, entry] of others) print(`${name} ${version}`, await sizeOf(entry, directory))
  } finally {
    rmSync(directory, { recursive: true })
  }
}

await printOwn()
if (process.argv.includes('--others')) await printOthers()

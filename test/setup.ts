import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { realParts, type RealPart } from './support/real-parts.js'

// Brings the programs that tests talk to and npm does not: `npm run setup`. Where it can't, it says what to install, and
// fails only where nobody is there to read that.

const missing = (): RealPart[] => realParts.filter((part) => part.find() === undefined)

function aptGet (...args: string[]): boolean {
  return spawnSync('apt-get', ['--quiet', ...args], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  }).status === 0
}

const packages = missing().map(({ debianPackage }) => debianPackage)
if (packages.length > 0 && existsSync('/etc/debian_version') && process.getuid?.() === 0) {
  const install = ['install', '--yes', '--no-install-recommends', ...packages]
  // The package lists of a fresh image are empty, or too old.
  if (!aptGet(...install) && aptGet('update')) aptGet(...install)
}

for (const { name, neededFor, debianPackage } of missing()) {
  process.stdout.write(`${name} is missing (${neededFor}): install ${debianPackage}, on Debian with "apt-get install ${debianPackage}"\n`)
  if (process.env.CI === 'true') process.exitCode = 1
}
for (const { name, find } of realParts) {
  const found = find()
  if (found !== undefined) process.stdout.write(`${name}: ${found}\n`)
}

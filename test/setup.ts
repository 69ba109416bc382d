import { spawnSync } from 'node:child_process'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { areRecipesInstalled, areRecipesOutdated, installRecipes, RECIPES, renewCopy } from './support/recipes.js'
import { areSdksInstalled, areSdksOutdated, realParts, SDKS, type RealPart } from './support/real-parts.js'

// `npm run setup` installs the programs that the tests need and npm does not provide. If it can't, it prints what to install.
// It fails only in CI.

const missing = (): RealPart[] => realParts.filter((part) => part.find() === undefined)

function aptGet (...args: string[]): boolean {
  return spawnSync('apt-get', ['--quiet', ...args], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  }).status === 0
}

/** Debian starts the services of a package that it installs, unless this program forbids it (see invoke-rc.d(8)). */
const POLICY = '/usr/sbin/policy-rc.d'

/** Installs packages without starting their services. An existing policy belongs to the machine and is kept. */
function installQuietly (packages: readonly string[]): void {
  const install = ['install', '--yes', '--no-install-recommends', ...packages]
  const isOurs = !existsSync(POLICY)
  // With a listener, Ctrl+C ends only apt-get, and the policy is still removed.
  process.once('SIGINT', () => { process.exitCode = 130 })
  if (isOurs) writeFileSync(POLICY, '#!/bin/sh\n# Made by "npm run setup" of ai-canvas-ws for as long as it runs.\nexit 101\n', { mode: 0o755 })
  try {
    // The package lists of a new image are empty or too old.
    if (!aptGet(...install) && aptGet('update')) aptGet(...install)
  } finally {
    if (isOurs) rmSync(POLICY)
  }
}

const absent = missing()
if (absent.length > 0 && existsSync('/etc/debian_version') && process.getuid?.() === 0) {
  installQuietly(absent.map(({ debianPackage }) => debianPackage))
  // Otherwise the services would start when the machine boots. Tests run the programs themselves.
  const services = absent.flatMap(({ service, find }) => service !== undefined && find() !== undefined ? service : [])
  if (services.length > 0) spawnSync('systemctl', ['disable', '--quiet', ...services])
}

// The SDKs have a package.json of their own, so that `npm ci` stays quick.
if (areSdksOutdated()) spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: SDKS, stdio: 'inherit' })
if (!areSdksInstalled()) {
  process.stdout.write(`The SDKs of the model providers are missing (jobs over their streams): run "npm ci" in ${SDKS}\n`)
  if (process.env.CI === 'true') process.exitCode = 1
}

// The recipes have their own package.json too, and also need a copy of this package.
if (areRecipesOutdated()) installRecipes()
else renewCopy()
if (!areRecipesInstalled()) {
  process.stdout.write(`The dependencies of the recipes are missing (tests of the recipes): run "npm run build", then "npm ci" in ${RECIPES}\n`)
  if (process.env.CI === 'true') process.exitCode = 1
}

for (const { name, neededFor, debianPackage } of missing()) {
  process.stdout.write(`${name} is missing (${neededFor}): install ${debianPackage}, on Debian with "apt-get install ${debianPackage}"\n`)
  if (process.env.CI === 'true') process.exitCode = 1
}
for (const { name, find } of realParts) {
  const found = find()
  if (found !== undefined) process.stdout.write(`${name}: ${found}\n`)
}

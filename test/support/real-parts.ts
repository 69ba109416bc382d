import { spawnSync } from 'node:child_process'

/** A program that some test talks to, and that npm does not bring. `npm run setup` installs what is missing. */
export interface RealPart {
  readonly name: string
  /** What tests it, for the one who has to decide whether to install it. */
  readonly neededFor: string
  readonly debianPackage: string
  /** Answers how to run it, or undefined when it is not there. */
  readonly find: () => string | undefined
}

/** Debian's own comes last in the PATH of many who have several. */
const PYTHONS = ['python3', '/usr/bin/python3']

const pythonWebsockets: RealPart = {
  name: 'Python with websockets',
  neededFor: 'a client that is not JavaScript inflates what the server deflates',
  debianPackage: 'python3-websockets',
  find: () => PYTHONS.find((python) => spawnSync(python, ['-c', 'import websockets']).status === 0)
}

export const realParts: readonly RealPart[] = [pythonWebsockets]

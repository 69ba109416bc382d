import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { Test } from 'tap'
import { Child } from './child.js'
import type { Message } from './ws-client.js'

const program = join(dirname(createRequire(import.meta.url).resolve('wscat/package.json')), 'bin', 'wscat')

/** A `wscat` at the terminal, and the messages that it shows. */
export class Wscat {
  readonly child: Child

  constructor (t: Test, ...args: string[]) {
    this.child = new Child(t, process.execPath, [program, ...args])
  }

  async shown (): Promise<Message> {
    // It writes its prompt even where nobody sees it, and no newline after that.
    return JSON.parse((await this.child.next()).replace(/^(> )+/, '')) as Message
  }

  type (line: string): void {
    this.child.write(line)
  }

  /** What Ctrl+C does. Resolves when it has gone. */
  async interrupt (): Promise<void> {
    this.child.process.kill('SIGINT')
    await this.child.exited
  }
}

import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { Test } from 'tap'
import { Child } from './child.js'
import type { Message } from './ws-client.js'

const program = join(dirname(createRequire(import.meta.url).resolve('wscat/package.json')), 'bin', 'wscat')

/** A running `wscat`, and the messages that it prints. */
export class Wscat {
  readonly child: Child

  constructor (t: Test, ...args: string[]) {
    this.child = new Child(t, process.execPath, [program, ...args])
  }

  async shown (): Promise<Message> {
    // wscat writes its prompt even if its stdout is not a terminal, and writes no newline after it.
    return JSON.parse((await this.child.next()).replace(/^(> )+/, '')) as Message
  }

  type (line: string): void {
    this.child.write(line)
  }

  /** Interrupts wscat like Ctrl+C. Resolves when it has ended. */
  async interrupt (): Promise<void> {
    this.child.process.kill('SIGINT')
    await this.child.exited
  }
}

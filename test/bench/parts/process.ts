import { setTimeout as sleep } from 'node:timers/promises'
import { serve } from '../rpc.js'
import type { Subject, Version } from './part.js'
import { parts } from './parts.js'

// Runs one version of one part. Each version has its own process, because they would share compiled code and a heap otherwise.

export interface Round {
  readonly cpuMicros: number
  readonly check: number
}

let subject: Subject | undefined

const handlers = {
  /** Creates the subject. Returns the memory that it takes after its first round, in bytes. */
  async start ({ name, version }: { name: string, version: Version }): Promise<number> {
    const create = parts[name]?.versions[version]
    if (create === undefined) throw new Error(`${name} has no version ${version}`)
    // Runs once before the measurement, so that compiled code and buffers that are allocated only once are not counted.
    await (await create()).run()
    const before = await usedBytes()
    subject = await create()
    await subject.run()
    return await usedBytes() - before
  },

  async round (): Promise<Round> {
    if (subject === undefined) throw new Error('call start first')
    const before = process.cpuUsage()
    const check = await subject.run()
    const { user, system } = process.cpuUsage(before)
    return { cpuMicros: user + system, check }
  }
}

async function usedBytes (): Promise<number> {
  for (let turn = 0; turn < 3; turn++) {
    globalThis.gc?.()
    await sleep(20)
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

export type PartHandlers = typeof handlers

serve(handlers)

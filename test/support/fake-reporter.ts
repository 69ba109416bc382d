import type { JobReporter } from '../../lib/jobs/track.js'
import type { AIErrorInfo, AIProgress, AIResult } from '../../lib/protocol/messages.js'

/** A fake job handle that records the reports. */
export interface FakeReporter extends JobReporter {
  /** The reports in order, each with its name and its content. */
  readonly reports: Array<[name: 'progress' | 'complete' | 'error', content: AIProgress | AIResult | AIErrorInfo | Error]>
  readonly progresses: Array<AIProgress & { delta?: string }>
  /** The reports that end a job. */
  readonly ends: FakeReporter['reports']
  /** The joined text of all progress reports. */
  readonly text: string
  /** How often `keepAlive` was called. */
  readonly heardTimes: number
  /** The logged warnings. */
  readonly warnings: Array<{ readonly message: string, readonly [field: string]: unknown }>
  /** Cancels the job, as a client does. */
  cancel (reason?: unknown): void
  /** Makes the job count as stalled. */
  stall (): void
}

export function fakeReporter (): FakeReporter {
  const controller = new AbortController()
  const reports: FakeReporter['reports'] = []
  const progresses: FakeReporter['progresses'] = []
  const warnings: FakeReporter['warnings'] = []
  let heardTimes = 0
  let stall = (): void => undefined
  return {
    reports,
    progresses,
    get ends () { return reports.filter(([name]) => name !== 'progress') },
    get text () { return progresses.map(({ delta = '' }) => delta).join('') },
    get heardTimes () { return heardTimes },
    warnings,
    warn: (message, fields) => { warnings.push({ ...fields, message }) },
    signal: controller.signal,
    keepAlive: () => { heardTimes++ },
    onceStalled: (callback) => { stall = callback },
    stall: () => { stall() },
    cancel: (reason) => { controller.abort(reason) },
    progress: (progress) => {
      progresses.push(progress)
      reports.push(['progress', progress])
    },
    complete: (result) => { reports.push(['complete', result]) },
    error: (error) => { reports.push(['error', error]) }
  }
}

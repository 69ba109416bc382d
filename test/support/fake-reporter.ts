import type { JobReporter } from '../../lib/jobs/track.js'
import type { AIErrorInfo, AIProgress, AIResult } from '../../lib/protocol/messages.js'

/** A job handle that remembers what it was told. */
export interface FakeReporter extends JobReporter {
  /** What was reported, in order: its name, and what with it. */
  readonly reports: Array<[name: 'progress' | 'complete' | 'error', content: AIProgress | AIResult | AIErrorInfo | Error]>
  readonly progresses: Array<AIProgress & { delta?: string }>
  /** The reports that end a job. */
  readonly ends: FakeReporter['reports']
  /** The text that was sent, joined. */
  readonly text: string
  /** How often it was told only that the job still runs. */
  readonly heardTimes: number
  /** What was logged. */
  readonly warnings: Array<{ readonly message: string, readonly [field: string]: unknown }>
  /** Cancels the job, as a client does. */
  cancel (reason?: unknown): void
  /** Nothing was heard of it for too long. */
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

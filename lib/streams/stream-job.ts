import { Job } from './session-jobs.js'
import type { JobText } from './job-text.js'
import type { Publication } from './broker.js'
import type { Evictions } from './evictions.js'
import { UNIT_BYTES, type KeptPublication } from './kept-publication.js'
import { LatestProgress } from './latest-progress.js'

/** What a job costs beside what it keeps: 170 bytes were measured. */
const JOB_BYTES = 320

/** A job, and what it leaves for those who come later. */
export class StreamJob extends Job {
  start: KeptPublication | undefined = undefined
  progress: KeptPublication | LatestProgress | undefined = undefined
  end: KeptPublication | undefined = undefined
  text: JobText | undefined = undefined
  /** How much of the text was passed on. */
  told = 0
  /** Whether its start was published in this life of the stream. */
  hasStarted = false
  /** What all this costs. */
  bytes = 0

  /** UTF-16 units of its text that are kept. */
  get textUnits (): number {
    return this.text?.units ?? 0
  }

  begin (start: KeptPublication | undefined): void {
    this.hasStarted = true
    this.start = start
  }

  /** The first is kept as it is: many jobs have no other. */
  keep (latest: KeptPublication): void {
    if (this.progress === undefined) this.progress = latest
    else if (this.progress instanceof LatestProgress) this.progress.write(latest)
    else this.progress = new LatestProgress(latest)
  }

  /** Behind an end nobody is sent the start any more, and the numbers of a progress tell nothing; its text does. */
  finish (end: KeptPublication | undefined): void {
    this.end = end
    this.start = undefined
    if (this.text === undefined) this.progress = undefined
  }

  /** Lets go of its text. The text's length stays, so that what comes next knows its place. */
  discardText (evictions?: Evictions): void {
    if (this.textUnits === 0) return
    this.text?.discard()
    evictions?.add('texts')
  }

  /** Keeps of its start and its progress the stubs, where it has any. */
  shorten (evictions: Evictions): void {
    if (this.start?.stub !== undefined) {
      this.start = this.start.stub
      evictions.add('stubs')
    }
    this.progress = this.progress?.stub ?? this.progress
  }

  /** Lets go of what it left. If more may come its text's length stays, and a progress to tell it with. */
  strip (evictions?: Evictions): void {
    if (this.start !== undefined) evictions?.add('starts')
    this.start = this.end = undefined
    this.discardText(evictions)
    if (this.text === undefined || !this.mayGoOn) {
      this.progress = this.text = undefined
    } else {
      this.progress = this.progress?.stub ?? this.progress
      if (this.progress instanceof LatestProgress) this.progress.trim()
    }
  }

  /** The newest progress, as it is now, with all of the text that is kept. */
  get wholeProgress (): Publication | undefined {
    const { id: jobId, progress, text: source } = this
    if (progress === undefined) return undefined
    const { body, revision, textAt } = progress
    return { body, durable: false, revision, jobId, textAt, text: source && { source, from: 0, to: source.end } }
  }

  /** The same, only if there is text. */
  get wholeText (): Publication | undefined {
    return this.text === undefined ? undefined : this.wholeProgress
  }

  weigh (): number {
    const { id, start, progress, end, text } = this
    return JOB_BYTES + id.length * UNIT_BYTES + (start?.bytes ?? 0) + (progress?.bytes ?? 0) + (end?.bytes ?? 0) + (text?.bytes ?? 0)
  }
}

import { Job } from './session-jobs.js'
import type { JobText } from './job-text.js'
import type { Publication } from './broker.js'
import type { Evictions } from './evictions.js'
import { UNIT_BYTES, type KeptPublication } from './kept-publication.js'
import { LatestProgress } from './latest-progress.js'

/** Estimated memory of a job without its content, in bytes. Measured: 170 bytes. */
const JOB_BYTES = 320

/** A job and what is kept of it for late subscribers. */
export class StreamJob extends Job {
  start: KeptPublication | undefined = undefined
  progress: KeptPublication | LatestProgress | undefined = undefined
  end: KeptPublication | undefined = undefined
  text: JobText | undefined = undefined
  /** Where the published part of the text ends, in UTF-16 units. */
  publishedEnd = 0
  /** Whether its start was published since the stream was last created. */
  hasStarted = false
  /** Estimated memory of all this, as last computed. */
  bytes = 0

  /** Length of the kept part of its text, in UTF-16 units. */
  get textUnits (): number {
    return this.text?.units ?? 0
  }

  begin (start: KeptPublication | undefined): void {
    this.hasStarted = true
    this.start = start
  }

  /** Keeps the newest progress. The first one stays a plain publication, because many jobs have no other. */
  keepProgress (latest: KeptPublication): void {
    if (this.progress === undefined) this.progress = latest
    else if (this.progress instanceof LatestProgress) this.progress.write(latest)
    else this.progress = new LatestProgress(latest)
  }

  /** Keeps the end. After it no subscriber needs the start, and needs the progress only for its text. */
  finish (end: KeptPublication | undefined): void {
    this.end = end
    this.start = undefined
    if (this.text === undefined) this.progress = undefined
  }

  /** Discards the kept text. Its length stays, so that later pieces get the right offset. */
  discardText (evictions?: Evictions): void {
    if (this.textUnits === 0) return
    this.text?.discard()
    evictions?.add('texts')
  }

  /** Reduces its start and its progress to their short forms, if they have any. */
  shorten (evictions: Evictions): void {
    if (this.start?.shortForm !== undefined) {
      this.start = this.start.shortForm
      evictions.add('shortened')
    }
    this.progress = this.progress?.shortForm ?? this.progress
  }

  /**
   * Discards everything that late subscribers would get. If more reports may follow, the text's length stays, and a progress
   * to send it with.
   */
  discard (evictions?: Evictions): void {
    if (this.start !== undefined) evictions?.add('starts')
    this.start = this.end = undefined
    this.discardText(evictions)
    if (this.text === undefined || !this.isOpen) {
      this.progress = this.text = undefined
    } else {
      this.progress = this.progress?.shortForm ?? this.progress
      if (this.progress instanceof LatestProgress) this.progress.trim()
    }
  }

  /** The newest progress with all of the kept text. */
  get wholeProgress (): Publication | undefined {
    const { id: jobId, progress, text: source } = this
    if (progress === undefined) return undefined
    const { body, revision } = progress
    return { body, durable: false, revision, jobId, text: source && { source, from: 0, to: source.end } }
  }

  /** The newest progress with all of the kept text, if there is any. */
  get wholeText (): Publication | undefined {
    return this.text === undefined ? undefined : this.wholeProgress
  }

  estimateBytes (): number {
    const { id, start, progress, end, text } = this
    return JOB_BYTES + id.length * UNIT_BYTES + (start?.bytes ?? 0) + (progress?.bytes ?? 0) + (end?.bytes ?? 0) + (text?.bytes ?? 0)
  }
}

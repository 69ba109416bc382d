import { useEffect, useLayoutEffect, useRef, useState, useSyncExternalStore, type CSSProperties, type ReactElement } from 'react'
import type { Entry, Timeline } from '../timeline.js'

/** Shows the events since the job began: as a line with gaps for disconnects, and in words. */
export function TimelineView ({ timeline, whose }: { timeline: Timeline, whose: string }): ReactElement {
  const { entries, startedAt, endedAt } = useSyncExternalStore(timeline.subscribe, timeline.getSnapshot)
  const now = useNow(startedAt !== undefined && endedAt === undefined)
  const log = useRef<HTMLDivElement>(null)
  useLayoutEffect(() => { log.current?.scrollTo(0, log.current.scrollHeight) }, [entries])
  const last = Math.max(endedAt ?? now, entries.at(-1)?.at ?? 0)
  return (
    <div className="timeline">
      <h3>Timeline</h3>
      <div className="track" aria-hidden="true">
        {startedAt !== undefined && stretches(entries, startedAt, last).map(({ kind, from, to }) => (
          <i key={from} data-kind={kind} style={{ '--from': from, '--to': to } as CSSProperties} />
        ))}
      </div>
      <div ref={log} role="log" aria-label={`${whose} timeline`} tabIndex={0}>
        <ol>
          {entries.map(({ id, at, kind, text }) => (
            <li key={id} data-kind={kind}>
              <time>{startedAt === undefined ? new Date(at).toLocaleTimeString() : `${(Math.max(0, at - startedAt) / 1000).toFixed(1)} s`}</time> {text}
            </li>
          ))}
        </ol>
      </div>
    </div>
  )
}

interface Stretch {
  readonly kind: 'on' | 'off'
  /** Fraction of the whole line, from 0 to 1. */
  readonly from: number
  readonly to: number
}

/** Returns the periods with and without a connection. */
function stretches (entries: readonly Entry[], startedAt: number, last: number): Stretch[] {
  const share = (at: number): number => last <= startedAt ? 1 : Math.max(0, Math.min(1, (at - startedAt) / (last - startedAt)))
  const result: Stretch[] = []
  let kind: Stretch['kind'] = 'on'
  let from = 0
  for (const entry of entries) {
    const next: Stretch['kind'] = entry.kind === 'cut' || entry.kind === 'restart' ? 'off' : entry.kind === 'back' ? 'on' : kind
    if (next === kind) continue
    const to = share(entry.at)
    if (to > from) result.push({ kind, from, to })
    kind = next
    from = to
  }
  if (from < 1) result.push({ kind, from, to: 1 })
  return result
}

/** Returns the current time, updated while a job runs. */
function useNow (isRunning: boolean): number {
  const [now, setNow] = useState(0)
  useEffect(() => {
    if (!isRunning) return
    const tick = (): void => { setNow(Date.now()) }
    tick()
    const timer = setInterval(tick, 250)
    return () => { clearInterval(timer) }
  }, [isRunning])
  return now
}

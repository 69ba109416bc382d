import { useSyncExternalStore, type ReactElement } from 'react'
import type { Journal } from '../journal.js'

/** What became of the connection, the newest first. */
export function JournalList ({ journal, whose }: { journal: Journal, whose: string }): ReactElement {
  const entries = useSyncExternalStore(journal.subscribe, journal.getSnapshot)
  return (
    <div className="journal">
      <h3>Connection log</h3>
      <div role="log" aria-label={`${whose} connection log`} tabIndex={0}>
        <ol>
          {entries.map(({ id, time, text, kind }) => (
            <li key={id} data-kind={kind}><time>{time}</time> {text}</li>
          ))}
        </ol>
      </div>
    </div>
  )
}

import type { ReactElement } from 'react'
import type { SessionStats } from '../stats.js'

const states = ['connecting', 'open', 'closing', 'closed']

/** Who follows the session, as the server's statistics say. */
export function Connections ({ stats }: { stats: SessionStats | undefined }): ReactElement {
  return (
    <section className="card connections" aria-labelledby="connections">
      <h2 id="connections">Who follows this job <a className="quiet" href="/api/ws/stats" target="_blank" rel="noreferrer">statistics</a></h2>
      {stats === undefined
        ? <p className="quiet">The server does not answer.</p>
        : (
          <ul>
            {stats.clients.map(({ id, userId = 'no name', isAlive, state }) => (
              <li key={id}><code title={id}>{userId}</code> <span className="quiet">{states[state]}{!isAlive && ', silent'}</span></li>
            ))}
          </ul>
          )}
    </section>
  )
}

import type { ReactElement } from 'react'
import type { SessionStats } from '../stats.js'

const states = ['connecting', 'open', 'closing', 'closed']

/** Lists the session's subscribers from the server's statistics. */
export function Connections ({ stats }: { stats: SessionStats | undefined }): ReactElement {
  return (
    <section className="card connections" aria-labelledby="connections">
      <h2 id="connections">Subscribers <a className="quiet" href="/api/ws/stats" target="_blank" rel="noreferrer">statistics</a></h2>
      {stats === undefined
        ? <p className="quiet">The server does not respond.</p>
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

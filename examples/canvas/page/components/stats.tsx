import { useEffect, useState, type ReactElement } from 'react'

interface ClientStats {
  id: string
  userId?: string
  sessionId?: string
  isAlive: boolean
  state: number
}

interface StatsAnswer {
  totalConnections: number
  activeConnections: number
  clients: ClientStats[]
}

const EVERY_MS = 2000
const LISTED = 8
const states = ['connecting', 'open', 'closing', 'closed']

/** Who is connected, as the stats route tells. */
export function Stats (): ReactElement {
  const stats = useStats()
  return (
    <section className="card stats" aria-labelledby="stats">
      <header>
        <h2 id="stats">Connections <a className="quiet" href="/api/ws/stats" target="_blank" rel="noreferrer"><code>/api/ws/stats</code></a></h2>
        <p className="totals">
          {stats === undefined
            ? <span className="quiet">The server does not answer</span>
            : <><strong>{stats.activeConnections}</strong> active <span className="quiet">of {stats.totalConnections}</span></>}
        </p>
      </header>
      <div className="table" role="region" aria-label="Connections" tabIndex={0}>
        <table>
          <thead><tr><th scope="col" className="wide">Client</th><th scope="col">User</th><th scope="col">Session</th><th scope="col">State</th></tr></thead>
          <tbody>
            {stats?.clients.map(({ id, userId, sessionId, isAlive, state }) => (
              <tr key={id}>
                <td className="wide"><code title={id}>…{id.slice(-8)}</code></td>
                <td>{userId ?? <span className="quiet">none</span>}</td>
                <td>{sessionId ?? <span className="quiet">none</span>}</td>
                <td>{states[state]}{!isAlive && <span className="quiet">, silent</span>}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  )
}

/** Undefined while there is no answer. A hidden page does not ask. */
function useStats (): StatsAnswer | undefined {
  const [stats, setStats] = useState<StatsAnswer>()
  useEffect(() => {
    const controller = new AbortController()
    const { signal } = controller
    async function ask (): Promise<void> {
      if (document.visibilityState === 'hidden') return
      const answer = await fetch(`/api/ws/stats?limit=${LISTED}`, { signal }).then(async (response) => await response.json() as StatsAnswer).catch(() => undefined)
      if (!signal.aborted) setStats(answer)
    }
    void ask()
    const timer = setInterval(() => { void ask() }, EVERY_MS)
    return () => {
      clearInterval(timer)
      controller.abort()
    }
  }, [])
  return stats
}

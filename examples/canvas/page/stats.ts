import { useEffect, useState } from 'react'

interface ClientStats {
  readonly id: string
  readonly userId?: string
  readonly isAlive: boolean
  readonly state: number
}

export interface SessionStats {
  readonly clients: readonly ClientStats[]
}

const EVERY_MS = 2000

/** Returns the session's subscribers, or undefined while the server does not respond. A hidden page sends no requests. */
export function useStats (sessionId: string): SessionStats | undefined {
  const [stats, setStats] = useState<SessionStats>()
  useEffect(() => {
    const controller = new AbortController()
    const { signal } = controller
    const url = `/api/ws/stats?${new URLSearchParams({ sessionId, limit: '20' }).toString()}`
    async function ask (): Promise<void> {
      if (document.visibilityState === 'hidden') return
      const answer = await fetch(url, { signal }).then(async (response) => response.ok ? await response.json() as SessionStats : undefined).catch(() => undefined)
      if (!signal.aborted) setStats(answer)
    }
    void ask()
    const timer = setInterval(() => { void ask() }, EVERY_MS)
    return () => {
      clearInterval(timer)
      controller.abort()
    }
  }, [sessionId])
  return stats
}

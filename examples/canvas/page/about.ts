import { useEffect, useState } from 'react'

/** The server's information about itself. */
export interface About {
  readonly model: string | null
  readonly modelVariables: string
  readonly documentSeconds: number
}

/** Requests the information on each connection, because the server may have been replaced. Undefined before the first response. */
export function useAbout (isConnected: boolean): About | undefined {
  const [about, setAbout] = useState<About>()
  useEffect(() => {
    if (!isConnected) return
    const controller = new AbortController()
    fetch('/api/about', { signal: controller.signal })
      .then(async (response) => { if (response.ok) setAbout(await response.json() as About) })
      .catch(() => undefined)
    return () => { controller.abort() }
  }, [isConnected])
  return about
}

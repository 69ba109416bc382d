import { useEffect, useState } from 'react'

/** What the server says of itself. */
export interface About {
  readonly model: string | null
  readonly modelVariables: string
  readonly documentSeconds: number
  readonly killCommand: string
}

/** Asks the server anew with each connection, because another one may have taken its place. Undefined before the first answer. */
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

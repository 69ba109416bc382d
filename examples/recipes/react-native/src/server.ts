/** An absolute URL, because outside of a page there is no URL that a path could be relative to. */
export const SERVER = 'https://api.example.com'

/** Asks the server for a job. Returns why it could not be started, or an empty string. */
export async function startJob (sessionId: string, prompt: string): Promise<string> {
  try {
    const response = await fetch(`${SERVER}/api/jobs`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ sessionId, prompt })
    })
    return response.ok ? '' : `The server answered ${response.status}`
  } catch {
    return 'The server cannot be reached'
  }
}

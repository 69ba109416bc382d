/** Asks the server for a job. Returns why it could not be started, or an empty string. */
export async function startJob (sessionId: string, prompt: string): Promise<string> {
  try {
    const response = await fetch('/api/jobs', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ sessionId, prompt })
    })
    return response.ok ? '' : `The server answered ${response.status}`
  } catch {
    return 'The server cannot be reached'
  }
}

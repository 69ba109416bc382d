'use server'

/** Asks the Fastify server for a job. Returns why it could not be started, or an empty string. */
export async function startJob (sessionId: string, prompt: string): Promise<string> {
  try {
    const response = await fetch(`${process.env.JOBS_URL ?? 'http://localhost:3001'}/jobs`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ sessionId, prompt })
    })
    return response.ok ? '' : `The server answered ${response.status}`
  } catch {
    return 'The server cannot be reached'
  }
}

export interface Task {
  mode: string
  prompt?: string
  targetFile?: string
}

/** Starts a job as in the platform's documentation. If it is refused, throws an `Error` that says what to do. */
export async function generate (sessionId: string, task: Task): Promise<void> {
  let response: Response
  try {
    response = await fetch('/api/agent/generate', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ sessionId, ...task })
    })
  } catch (error) {
    throw new Error('The server can\'t be reached: check that it runs, and your network.', { cause: error })
  }
  if (response.ok) return
  const { message } = await response.json().catch(() => ({})) as { message?: string }
  throw new Error(message ?? `The server answered ${response.status}.`)
}

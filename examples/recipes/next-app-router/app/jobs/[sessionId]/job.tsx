'use client'

import { useState, type SubmitEvent } from 'react'
import { useAIWebSocket } from 'ai-canvas-ws/react'
import { startJob } from './actions'

const CONNECTION = {
  idle: 'Connecting',
  connecting: 'Connecting',
  connected: 'Connected',
  waiting: 'Connection lost, reconnecting',
  closed: 'Not connected: reload the page'
}

export function Job ({ sessionId, url }: { sessionId: string, url: string }) {
  const { state, isConnected, aiStatus, aiText, aiError, cancel } = useAIWebSocket(sessionId, { url })
  const [prompt, setPrompt] = useState('A result always arrives: in a late tab, after a lost connection, and when the server restarts.')
  const [failure, setFailure] = useState('')
  // Without a connection, the page can't know whether the job still runs
  const isRunning = isConnected && aiStatus === 'processing'

  async function submit (event: SubmitEvent) {
    event.preventDefault()
    setFailure(await startJob(sessionId, prompt).catch(() => 'The server cannot be reached'))
  }

  return (
    <>
      <h1>Next.js</h1>
      <p role="status">{CONNECTION[state]}</p>
      <form onSubmit={(event) => { void submit(event) }}>
        <label>Prompt <input value={prompt} onChange={({ target }) => { setPrompt(target.value) }} /></label>
        <button disabled={isRunning}>Start</button>
        <button type="button" disabled={!isRunning} onClick={() => { cancel() }}>Stop</button>
      </form>
      {isRunning && <progress aria-label="The job runs" />}
      <p role="region" aria-label="Text">{aiText}</p>
      <p role="alert">{failure || aiError?.message}</p>
    </>
  )
}

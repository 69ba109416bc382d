import { createClient } from 'ai-canvas-ws/client'

const { connection, form, prompt, start, stop, running, text, failure } = Object.fromEntries(
  Array.from(document.querySelectorAll('[id]'), (element) => [element.id, element])
)

// The session is in the address: a reload shows the same job, and so does a second tab with this address
const sessionId = location.hash.slice(1) || crypto.randomUUID()
history.replaceState(null, '', `#${sessionId}`)

const CONNECTION = {
  idle: 'Connecting',
  connecting: 'Connecting',
  connected: 'Connected',
  waiting: 'Connection lost, reconnecting',
  closed: 'Not connected: reload the page'
}

const client = createClient()
const jobs = client.jobStore(sessionId)
let requestError = ''

function render () {
  const job = jobs.getSnapshot().latest
  // Without a connection, the page can't know whether the job still runs
  const isRunning = client.state === 'connected' && job?.status === 'processing'
  connection.textContent = CONNECTION[client.state]
  running.hidden = !isRunning
  start.disabled = isRunning
  stop.disabled = !isRunning
  text.textContent = job?.text ?? ''
  failure.textContent = requestError || (job?.error?.message ?? '')
}

client.on('state', render)
jobs.subscribe(render)

form.addEventListener('submit', async (event) => {
  event.preventDefault()
  try {
    const response = await fetch('/api/jobs', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ sessionId, prompt: prompt.value })
    })
    requestError = response.ok ? '' : `The server answered ${response.status}`
  } catch {
    requestError = 'The server cannot be reached'
  }
  render()
})
stop.addEventListener('click', () => { client.cancel(sessionId) })

import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { Job } from './job'

// The session is in the URL: a reload shows the same job, and so does a second tab with this URL
const sessionId = location.hash.slice(1) || crypto.randomUUID()
history.replaceState(null, '', `#${sessionId}`)

const app = document.querySelector('#app')
if (app === null) throw new Error('index.html has no #app')
createRoot(app).render(<StrictMode><Job sessionId={sessionId} /></StrictMode>)

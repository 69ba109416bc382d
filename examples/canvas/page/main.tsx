import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { Canvas } from './components/canvas.js'
import { takeSeat } from './seat.js'
import { randomName, sessionOf } from './session.js'

const root = document.getElementById('root')
if (root === null) throw new Error('index.html has no #root')

const tab = randomName()
const you = takeSeat({ name: 'You', whose: 'Your', cutLabel: 'Cut my connection', userId: `you_${tab}` })
const guest = takeSeat({ name: 'A guest', whose: 'The guest\'s', cutLabel: 'Cut connection', userId: `guest_${tab}` })
createRoot(root).render(
  <StrictMode>
    <Canvas sessionId={sessionOf(location, history)} you={you} guest={guest} />
  </StrictMode>
)

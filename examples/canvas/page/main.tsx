import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { Canvas } from './components/canvas.js'
import { takeSeat } from './seat.js'
import { randomName, sessionOf } from './session.js'

const root = document.getElementById('root')
if (root === null) throw new Error('index.html has no #root')

const tab = randomName()
createRoot(root).render(
  <StrictMode>
    <Canvas sessionId={sessionOf(location, history)} you={takeSeat('You', `you_${tab}`)} guest={takeSeat('A guest', `guest_${tab}`)} />
  </StrictMode>
)

import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { Canvas } from './components/canvas.js'
import { takeSeat } from './seat.js'
import { randomName, sessionOf } from './session.js'

const root = document.getElementById('root')
if (root === null) throw new Error('index.html has no #root')

const tab = randomName()
const you = takeSeat({
  name: 'You', whose: 'Your', called: 'you', userId: `you_${tab}`, cutLabel: 'Cut my connection', says: 'This tab, with its own connection.'
})
const second = takeSeat({
  name: 'A second user',
  whose: 'The second user\'s',
  called: 'the second user',
  userId: `second_${tab}`,
  cutLabel: 'Cut their connection',
  says: 'Subscribed to the same job, with another connection.'
})
createRoot(root).render(
  <StrictMode>
    <Canvas sessionId={sessionOf(location, history)} you={you} second={second} />
  </StrictMode>
)

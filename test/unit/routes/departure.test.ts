import t from 'tap'
import { Departure } from '../../../lib/routes/departure.js'

t.test('a signal that was asked for fires once the client has gone', async (t) => {
  const departure = new Departure()
  const { signal } = departure
  t.equal(signal.aborted, false)
  departure.note()
  t.equal(signal.aborted, true)
  t.equal(departure.signal, signal)
})

t.test('one that is asked for later has fired', async (t) => {
  const departure = new Departure()
  departure.note()
  t.equal(departure.signal.aborted, true)
})

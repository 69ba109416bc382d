import fc from 'fast-check'
import t from 'tap'
import { LatestProgress } from '../../../lib/streams/latest-progress.js'

t.test('the last write counts, whatever was written before', (t) => {
  const body = fc.json({ stringUnit: 'binary' })
  fc.assert(fc.property(fc.array(body, { minLength: 1 }), (bodies) => {
    const latest = new LatestProgress({ body: '', revision: -1 })
    for (const [revision, body] of bodies.entries()) {
      latest.write({ body, revision })
      t.match(latest, { body, revision })
    }
  }))
  t.end()
})

function of (bytes: number): LatestProgress {
  return new LatestProgress({ body: 'x'.repeat(bytes), revision: 1 })
}

function write (latest: LatestProgress, bytes: number): void {
  latest.write({ body: 'y'.repeat(bytes), revision: 2 })
}

t.test('a progress that grows a little reuses the buffer', (t) => {
  const latest = of(1_000)
  const { bytes } = latest
  for (let length = 1_000; length < 1_100; length++) write(latest, length)
  t.equal(latest.bytes, bytes)
  write(latest, 2_000)
  t.ok(latest.bytes > bytes, 'and takes more when it must')
  t.end()
})

t.test('a buffer that is much too large is replaced', (t) => {
  const latest = of(100_000)
  t.ok(latest.bytes > 100_000)
  write(latest, 50_000)
  t.ok(latest.bytes > 100_000, 'not at once')
  write(latest, 1_000)
  t.ok(latest.bytes < 2_000)
  t.equal(latest.body, 'y'.repeat(1_000))
  t.end()
})

t.test('trim shrinks the buffer to the current length', (t) => {
  const latest = of(1_000)
  write(latest, 500)
  const { bytes } = latest
  latest.trim()
  t.ok(latest.bytes <= bytes - 500)
  t.match(latest, { body: 'y'.repeat(500), revision: 2 })
  write(latest, 501)
  t.equal(latest.body, 'y'.repeat(501))
  t.end()
})

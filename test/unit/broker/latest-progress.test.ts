import fc from 'fast-check'
import t from 'tap'
import { LatestProgress } from '../../../lib/broker/latest-progress.js'

t.test('what was written last is what it is, whatever was there before', (t) => {
  const body = fc.json({ stringUnit: 'binary' })
  fc.assert(fc.property(fc.array(body, { minLength: 1 }), (bodies) => {
    const latest = new LatestProgress()
    for (const [revision, body] of bodies.entries()) {
      latest.write({ body, revision, textAt: body.length - 1 })
      t.equal(latest.body, body)
      t.strictSame([latest.revision, latest.textAt], [revision, body.length - 1])
    }
  }))
  t.end()
})

function write (latest: LatestProgress, bytes: number): void {
  latest.write({ body: 'x'.repeat(bytes), revision: 1 })
}

t.test('one that grows a little stays where it is', (t) => {
  const latest = new LatestProgress()
  write(latest, 1_000)
  const { bytes } = latest
  for (let length = 1_000; length < 1_100; length++) write(latest, length)
  t.equal(latest.bytes, bytes)
  write(latest, 2_000)
  t.ok(latest.bytes > bytes, 'and takes more when it must')
  t.end()
})

t.test('what is much too large is given back', (t) => {
  const latest = new LatestProgress()
  write(latest, 100_000)
  t.ok(latest.bytes > 100_000)
  write(latest, 50_000)
  t.ok(latest.bytes > 100_000, 'not at once')
  write(latest, 1_000)
  t.ok(latest.bytes < 2_000)
  t.equal(latest.body, 'x'.repeat(1_000))
  t.end()
})

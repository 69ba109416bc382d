import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { JobMap } from '../../../lib/util/job-map.js'

t.test('it behaves like a map with session and job as its key', async () => {
  // The last id is invalid, but a JavaScript caller can pass it.
  const id = fc.constantFrom('a', 'b', 'ab', '', NaN as unknown as string)
  const step = fc.record({ does: fc.constantFrom('add', 'add', 'delete', 'clear'), sessionId: id, jobId: id })
  fc.assert(fc.property(fc.array(step, { maxLength: 40, size: 'max' }), (steps) => {
    const jobs = new JobMap<{ sessionId: string, jobId: string }>()
    const model = new Map<string, object>()
    for (const { does, sessionId, jobId } of steps) {
      const key = JSON.stringify([sessionId, jobId])
      if (does === 'add') {
        const job = { sessionId, jobId }
        jobs.add(job)
        model.set(key, job)
      } else if (does === 'delete') {
        jobs.delete(sessionId, jobId)
        model.delete(key)
      } else {
        jobs.clear()
        model.clear()
      }
      assert.equal(jobs.get(sessionId, jobId), model.get(key))
      assert.deepEqual(new Set(jobs), new Set(model.values()))
      assert.equal(jobs.isEmpty, model.size === 0)
    }
  }))
})

t.test('items can be deleted during the iteration', async (t) => {
  const jobs = new JobMap<{ sessionId: string, jobId: string }>()
  for (const sessionId of ['one', 'many']) jobs.add({ sessionId, jobId: '1' })
  for (const jobId of ['2', '3']) jobs.add({ sessionId: 'many', jobId })
  const seen = []
  for (const { sessionId, jobId } of jobs) {
    seen.push(`${sessionId} ${jobId}`)
    jobs.delete(sessionId, jobId)
  }
  t.same(seen, ['one 1', 'many 1', 'many 2', 'many 3'])
  t.equal(jobs.isEmpty, true)
})

import t from 'tap'
import { Results } from '../../../examples/canvas/results.js'

const task = { mode: 'document', targetFile: 'a.ts' }

t.test('the latest job of a session is kept', async (t) => {
  const results = new Results({ maxResults: 10, maxContentLength: 100 })
  t.equal(results.get('s'), undefined)
  results.begin('s', task)
  t.same(results.get('s'), { sessionId: 's', status: 'running', mode: 'document', targetFile: 'a.ts', chunks: 0, contentLength: 0, content: '' })
  results.end('s', task, { content: 'text', chunks: 2 })
  t.same(results.get('s'), { sessionId: 's', status: 'complete', mode: 'document', targetFile: 'a.ts', chunks: 2, contentLength: 4, content: 'text' })
  results.end('s', { mode: 'generate' }, { content: 'te', chunks: 1, error: new Error('cut off') })
  t.same(results.get('s'), { sessionId: 's', status: 'error', mode: 'generate', chunks: 1, contentLength: 2, content: 'te', error: { message: 'cut off' } })
})

t.test('above the limit of results the oldest is dropped', async (t) => {
  const results = new Results({ maxResults: 2, maxContentLength: 100 })
  for (const id of ['a', 'b']) results.end(id, task, { content: 'x', chunks: 1 })
  results.end('a', task, { content: 'y', chunks: 1 })
  results.end('c', task, { content: 'z', chunks: 1 })
  t.equal(results.get('b'), undefined, 'a is newer: it was written again')
  t.match(results.get('a'), { content: 'y' })
  t.match(results.get('c'), { content: 'z' })
})

t.test('above the limit of the total length the oldest are dropped, but never the newest', async (t) => {
  const results = new Results({ maxResults: 10, maxContentLength: 10 })
  for (const id of ['a', 'b', 'c']) results.end(id, task, { content: '123', chunks: 1 })
  results.end('d', task, { content: '12345', chunks: 1 })
  t.same(['a', 'b', 'c', 'd'].map((id) => results.get(id) !== undefined), [false, false, true, true])
  results.end('e', task, { content: 'x'.repeat(20), chunks: 1 })
  t.same(['c', 'd', 'e'].map((id) => results.get(id) !== undefined), [false, false, true])
  results.end('f', task, { content: '1', chunks: 1 })
  t.same(['e', 'f'].map((id) => results.get(id) !== undefined), [false, true])
})

import t from 'tap'
import { readChunks } from '../../../support/streams.js'
import { StreamReader } from '../../../../lib/jobs/stream-protocols/reader.js'

/** Chunks that apps make by themselves. Each stream begins like one of a protocol whose streams have a last event, and has none. */
const streams: Record<string, readonly object[]> = {
  'a start and an end of its own': [{ type: 'start' }, { type: 'text', text: 'Hé' }, { type: 'done' }],
  'a start and texts': [{ type: 'start', total: 2 }, { type: 'text', text: 'Hé' }],
  'files': [{ type: 'file', path: 'a.ts' }, { type: 'file', path: 'b.ts' }],
  'a start and files': [{ type: 'start' }, { type: 'file', path: 'a.ts' }],
  'steps of an agent of its own': [{ type: 'reasoning', text: 'x' }, { type: 'tool-call', name: 'find' }, { type: 'tool-result', value: 7 }, { type: 'source', url: 'x' }],
  'actions with a payload': [{ type: 'progress', payload: { done: 1 } }, { type: 'text-delta', payload: { text: 'Hé' } }],
  'actions with a payload, and where they are from': [{ type: 'moved', payload: { to: 7 }, from: 3 }, { type: 'moved', payload: [], from: 'a' }],
  'events in capitals': [{ type: 'STATE_CHANGED', state: 7 }, { type: 'STEP_DONE' }, { type: 'RUN_TESTS' }, { type: 'MESSAGES_LOADED' }],
  'events of callbacks': [{ event: 'on_start', data: {} }, { event: 'on_token', data: 'Hé' }],
  'candidates of a search': [{ candidates: [{ name: 'Ada', content: 'x' }] }, { candidates: ['a'] }, { candidates: [] }],
  'deltas of content': [{ type: 'message-start', id: 7 }, { type: 'content-delta', delta: 'Hé' }],
  'parts of a response': [{ type: 'response.start' }, { type: 'response.chunk', text: 'Hé' }, { type: 'response.end' }],
  'a model and a message': [{ model: 'm', message: 'Hé' }, { event: 'a', data: 'Hé' }, { type: 'progress' }]
}

for (const [what, chunks] of Object.entries(streams)) {
  t.test(`an app's own stream needs no last event: ${what}`, (t) => {
    t.same(readChunks(chunks), { status: 'complete', text: '' })
    const reader = new StreamReader()
    for (const chunk of chunks) reader.read(chunk)
    t.same(reader.unrecognisedKeys, Object.keys(chunks[0]!), 'the warning says that it is not known')
    t.end()
  })
}

t.test('a stream that begins like an app\'s own is still a protocol\'s', (t) => {
  const text = [{ type: 'text-start', id: '0' }, { type: 'text-delta', id: '0', delta: 'Hé' }]
  const rows: Array<[chunks: object[], end: object]> = [
    [[{ type: 'start' }], { status: 'error', type: 'incomplete' }],
    [[{ type: 'start' }, ...text], { status: 'error', type: 'incomplete', text: 'Hé' }],
    [[{ type: 'start' }, { type: 'data-status', data: 'x' }, ...text], { status: 'error', type: 'incomplete', text: 'Hé' }],
    [[{ type: 'start' }, { type: 'abort' }], { status: 'error', type: 'cancelled' }],
    [[{ type: 'start' }, { type: 'error', error: new Error('m') }], { status: 'error', message: 'm' }],
    [[{ type: 'start' }, { type: 'finish', finishReason: 'stop' }], { status: 'complete', finishReason: 'stop' }]
  ]
  for (const [chunks, end] of rows) t.match(readChunks(chunks), end, JSON.stringify(chunks))
  t.end()
})

t.test('lines of JSON that a model writes are text', (t) => {
  const texts = ['{"type":"start"}\n{"type":"finish"}\n', '{"type":"file","path":"a.ts"}\n', '{"error":"no such city"}\n', '{"type":"error","error":"none"}\n', '{"type":"tool-call"}\n']
  for (const text of texts) t.same(readChunks([text]), { status: 'complete', text }, text)
  t.end()
})

t.test('objects that can\'t be read are of no protocol, and do no harm', (t) => {
  const unreadable = (name: string): object => Object.defineProperty({}, name, { enumerable: true, get: () => { throw new Error('not loaded') } })
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  const chunks = [proxy, ...['type', 'choices', 'error', 'candidates', 'anything'].map(unreadable), { row: unreadable('lazy') }, { type: 'text-start' }, { type: 'text-end' }]
  t.match(readChunks(chunks), { status: 'complete', finishReason: 'unknown' })
  const reader = new StreamReader()
  reader.read(proxy)
  t.same(reader.unrecognisedKeys, [])
  t.end()
})

t.test('no protocol looks into every value of a large chunk', (t) => {
  let reads = 0
  const values = new Proxy(Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [`key${index}`, index])), {
    get: (target, name) => {
      reads++
      return Reflect.get(target, name) as unknown
    }
  })
  t.match(readChunks([{ values }]), { status: 'complete' })
  t.ok(reads <= 20, `${reads} reads`)
  t.match(readChunks([{ audio: new Float32Array(4096) }, { rows: [{ type: 'human', content: 'Hé' }] }]), { status: 'complete', text: '' })
  t.end()
})

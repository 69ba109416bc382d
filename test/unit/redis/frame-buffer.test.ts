import t from 'tap'
import type { Frame } from '../../../lib/redis/frame.js'
import { FrameBuffer } from '../../../lib/redis/frame-buffer.js'

function frame (revision: number, bytes = 1, text = ''): Frame {
  return {
    epoch: 'e', revision, seq: revision, durable: true, supersedes: false, isEnd: false, jobId: undefined, body: Buffer.alloc(bytes),
    text: text === '' ? undefined : { from: 0, to: text.length, kept: { text, offset: 0, truncated: false } }
  }
}

const revisions = ({ frames }: FrameBuffer): number[] => frames.map(({ revision }) => revision)

t.test('the newest messages wait, up to a number and a size', (t) => {
  t.same(revisions(new FrameBuffer([frame(1), frame(2)])), [1, 2])
  const many = new FrameBuffer()
  for (let n = 1; n <= 10_003; n++) many.push(frame(n))
  t.same([many.frames.length, many.frames[0]?.revision], [10_000, 4])
  const large = new FrameBuffer()
  for (let n = 1; n <= 5; n++) large.push(frame(n, 3 * 1024 * 1024))
  t.same(revisions(large), [4, 5])
  large.push(frame(6, 1, 'x'.repeat(3 * 1024 * 1024)))
  t.same(revisions(large), [6], 'a text counts two bytes a unit')
  large.push(frame(7, 20 * 1024 * 1024))
  t.same(revisions(large), [7], 'one message always waits')
  t.end()
})

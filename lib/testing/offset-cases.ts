import type { TextSlice } from '../streams/broker.js'
import type { ContractCase } from './contract-case.js'
import { match, present, same } from './expect.js'
import type { OpenNode } from './stage.js'
import { json, positionOf, report, session, text } from './reports.js'

const BULB = '💡'
const [HIGH, LOW] = BULB.split('') as [string, string]

/** Text at a given offset, which a node repeats, and text that a subscriber has already. */
export const offsetCases: readonly ContractCase[] = [
  {
    name: 'text that begins before the end of the job\'s text is cut, so that nothing is appended twice',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.join(session)
      for (const [at, [from, delta]] of ([[0, 'abc'], [1, 'bcdef'], [0, 'abcdef'], [2, 'cd'], [6, 'g']] as const).entries()) {
        await broker.publish(session, json(at), text(delta, 'j', from))
      }
      const pieces = (await node.until(session, json(4))).map((message) => message.piece)
      same(pieces.map((piece) => [piece?.offset, piece?.text]), [[0, 'abc'], [3, 'def'], [6, ''], [6, ''], [6, 'g']], 'the delivered pieces')
      same(await wholeText({ broker, node }), { text: 'abcdefg', offset: 0, truncated: false }, 'the replayed text')
    }
  },
  {
    name: 'text after a gap is refused, with the end of the text that the broker has, until the missing part is published',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.join(session)
      const refused = async (from: number, textEnd: number): Promise<void> => {
        const result = await broker.publish(session, json('refused'), text('xyz', 'j', from))
        match(result, { dropped: 'gap', seq: 0, recipients: 0 }, `a progress at ${from}`)
        if (broker.canLoseHistory) match(result, { textEnd }, `the refusal at ${from}`)
      }
      await refused(1, 0)
      same(await broker.currentJob(session), undefined, 'the current job: a refused progress begins none')
      await broker.publish(session, json('first'), text('abc', 'j', 0))
      await refused(5, 3)
      match(await broker.publish(session, json('more'), text('defgh', 'j', 3)), { dropped: undefined }, 'a progress with the missing part')
      await broker.publish(session, json('end'), report('complete', { jobId: 'j' }))
      match(await broker.publish(session, json('late'), text('xyz', 'j', 50)), { dropped: 'ended' }, 'a progress of a job that has ended')
      same((await node.until(session, json('end'))).map(({ body }) => body), ['first', 'more', 'end'].map(json), 'the deliveries')
      same(await wholeText({ broker, node }), { text: 'abcdefgh', offset: 0, truncated: false }, 'the replayed text')
    }
  },
  {
    name: 'text after a gap is accepted if the node does not have the missing part either: the text begins anew',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.join(session)
      await broker.publish(session, json('first'), text('abc', 'j', 0))
      match(await broker.publish(session, json('later'), { ...text('xyz', 'j', 10), truncated: true }), { dropped: undefined }, 'a truncated progress')
      await broker.publish(session, json('next'), text('!', 'j', 13))
      const [, later, next] = (await node.until(session, json('next'))).map(({ piece }) => piece)
      match(later, { text: 'xyz', offset: 10 }, 'the piece after the gap')
      match(next, { text: '!', offset: 13, truncated: false }, 'the next piece')
      same(await wholeText({ broker, node }), { text: 'xyz!', offset: 10, truncated: true }, 'the replayed text')
    }
  },
  {
    name: 'a result says how much of a job\'s text the broker has, including half of a surrogate pair, if the broker can lose it',
    run: async (stage) => {
      const { broker } = await stage.open()
      const ends: Array<number | undefined> = []
      for (const options of [text('abc', 'j'), text(HIGH, 'j'), report('progress', { jobId: 'j' }), text(`${HIGH}${LOW}d`, 'j', 3), report('progress', { jobId: 'other' })]) {
        ends.push((await broker.publish(session, json('progress'), options)).textEnd)
      }
      if (broker.canLoseHistory) same(ends, [3, 4, 4, 6, undefined], 'textEnd of the results')
    }
  },
  {
    name: 'half of a surrogate pair that is held back counts as received, whatever is repeated',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.join(session)
      await broker.publish(session, json('half'), text(`a${HIGH}`, 'j', 0))
      await broker.publish(session, json('again'), text(`a${HIGH}`, 'j', 0))
      await broker.publish(session, json('rest'), text(`${HIGH}${LOW}b`, 'j', 1))
      const pieces = (await node.until(session, json('rest'))).map(({ piece }) => piece)
      same(pieces.map((piece) => [piece?.offset, piece?.text]), [[0, 'a'], [1, ''], [1, `${BULB}b`]], 'the delivered pieces')
      await broker.publish(session, json('second half'), text(HIGH, 'k', 0))
      await broker.publish(session, json('second rest'), text(LOW, 'k', 1))
      match((await node.until(session, json('second rest'))).at(-1)?.piece, { text: BULB, offset: 0 }, 'the piece with the other half')
    }
  },
  {
    name: 'a subscriber that has the beginning of a text gets at least the rest, and all of it if it has another text',
    run: async (stage) => {
      const { broker } = await stage.open()
      const since = positionOf(await broker.join(session))
      for (const jobId of ['a', 'b']) {
        for (const delta of ['one ', 'two ']) await broker.publish(session, json(`${delta}${jobId}`), text(delta, jobId))
      }
      await broker.publish(session, json('end'), report('complete', { jobId: 'b' }))
      for (const options of [{}, { since }]) {
        for (const [units, begin] of [[4, 4], [0, 0], [8, 8], [9, 0], [100, 0]] as const) {
          const { replay } = await broker.join(session, { ...options, have: new Map([['a', units], ['b', units], ['unknown', 7]]) })
          for (const jobId of ['a', 'b']) {
            const span = present(replay.find((publication) => publication.jobId === jobId && publication.text !== undefined)?.text, `the text of ${jobId}`)
            const rest = { text: 'one two '.slice(begin), offset: begin, truncated: false }
            same(span.source.slice(begin, span.to), rest, `the text of ${jobId} from ${begin} on, for a subscriber that has ${units} units`)
          }
        }
      }
    }
  }
]

/** Returns the text in the snapshot of the session, which has one job. */
async function wholeText ({ broker }: OpenNode): Promise<TextSlice | undefined> {
  const { replay } = await broker.join(session)
  return replay.map(({ text }) => text?.source.slice(0, text.to)).find((slice) => slice !== undefined)
}

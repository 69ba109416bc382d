import type { ContractCase } from './contract-case.js'
import { match, same } from './expect.js'
import { bodies, received } from './received.js'
import { json, positionOf, report, session, text } from './reports.js'

const BULB = '💡'
const [HIGH, LOW] = BULB.split('') as [string, string]

/** The text of a job: a subscriber that joins at any time can assemble all of it. */
export const textCases: readonly ContractCase[] = [
  {
    name: 'a job\'s text is delivered piece by piece, each with its offset',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.join(session)
      const pieces = ['one ', 'é', '', `${BULB}two`]
      for (const [at, piece] of pieces.entries()) await broker.publish(session, json(at), text(piece, 'j'))
      const messages = await node.until(session, json(3))
      same(messages.map(({ piece }) => piece), [piece('one ', 0), piece('é', 4), piece('', 5), piece(`${BULB}two`, 5)], 'the delivered pieces')
      same(messages.at(-1)?.whole, piece(pieces.join(''), 0), 'the whole text that the source returns')
    }
  },
  {
    name: 'a job\'s text belongs to one job, and a job without text delivers none',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.join(session)
      await broker.publish(session, json('a'), text('of a', 'a'))
      await broker.publish(session, json('b'), text('of b', 'b'))
      await broker.publish(session, json('c'), report('progress', { jobId: 'c' }))
      same((await node.until(session, json('c'))).map(({ piece }) => piece), [piece('of a', 0), piece('of b', 0), undefined], 'the delivered pieces')
    }
  },
  {
    name: 'a job with text has a span in each later progress, so that one without new text can replace an older one',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.join(session)
      await broker.publish(session, json('1'), text('abc', 'j'))
      await broker.publish(session, json('2'), report('progress', { jobId: 'j' }))
      const latest = (await node.until(session, json('2'))).at(-1)
      match(latest, { piece: piece('', 3), whole: piece('abc', 0) }, 'the progress without text')
    }
  },
  {
    name: 'a job\'s text never ends in half of a surrogate pair, except at its end',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.join(session)
      await broker.publish(session, json('1'), text(`a${HIGH}`, 'j'))
      await broker.publish(session, json('2'), text(`${LOW}b${HIGH}`, 'j'))
      await broker.publish(session, json('end'), report('complete', { jobId: 'j' }))
      const messages = await node.until(session, json('end'))
      same(messages.map(({ piece }) => piece), [piece('a', 0), piece(`${BULB}b`, 1), piece(HIGH, 4), undefined],
        'the delivered pieces: the half that was held back comes right before the end')
      same(messages.map(({ seq, jobId }) => [seq, jobId]), [[undefined, 'j'], [undefined, 'j'], [undefined, 'j'], [1, 'j']], 'the numbers and jobs')
      same((await broker.join(session)).replay.map((one) => received(one).piece), [piece(`a${BULB}b${HIGH}`, 0), undefined], 'the replay')
    }
  },
  {
    name: 'half of a surrogate pair stays held back after a progress without text, and is delivered with its other half',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.join(session)
      await broker.publish(session, json('half'), text(`a${HIGH}`, 'j'))
      await broker.publish(session, json('empty'), text('', 'j'))
      await broker.publish(session, json('none'), report('progress', { jobId: 'j' }))
      same((await broker.join(session)).replay.map((one) => received(one).piece), [piece('a', 0)], 'the replay in between')
      await broker.publish(session, json('rest'), text(`${LOW}b`, 'j'))
      const pieces = (await node.until(session, json('rest'))).map(({ piece }) => piece)
      same(pieces, [piece('a', 0), piece('', 1), piece('', 1), piece(`${BULB}b`, 1)], 'the delivered pieces')
      same((await broker.join(session)).replay.map((one) => received(one).piece), [piece(`a${BULB}b`, 0)], 'the replay')
    }
  },
  {
    name: 'a job\'s text is replayed in full to a late subscriber, up to the revision of the result',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.publish(session, json('start'), report('start', { jobId: 'j' }))
      for (const delta of ['one ', 'two ']) await broker.publish(session, json(delta), text(delta, 'j'))
      const joined = await broker.join(session)
      const replay = joined.replay.map(received)
      await broker.publish(session, json('after'), text('three', 'j'))
      same(bodies(joined), [json('start'), json('two ')], 'the replay')
      same(replay.map(({ piece }) => piece), [undefined, piece('one two ', 0)], 'the text in the replay')
      same((await node.until(session, json('after'))).map(({ piece }) => piece), [piece('three', 8)], 'the delivered text')
    }
  },
  {
    name: 'a job\'s text is replayed in full after a reconnect, whether its job runs or has ended, and always before the end',
    run: async (stage) => {
      const { broker } = await stage.open()
      const since = positionOf(await broker.join(session))
      for (const jobId of ['a', 'b']) await broker.publish(session, json(`1 ${jobId}`), text(`${jobId} begins, `, jobId))
      for (const jobId of ['a', 'b']) await broker.publish(session, json(`2 ${jobId}`), text('goes on', jobId))
      await broker.publish(session, json('end a'), report('complete', { jobId: 'a' }))
      const [a, b] = [piece('a begins, goes on', 0), piece('b begins, goes on', 0)]
      const back = await broker.join(session, { since })
      match(back, { recovered: true }, 'a join from the beginning')
      same(bodies(back), [json('2 a'), json('2 b'), json('end a')], 'its replay')
      same(back.replay.map((one) => received(one).piece), [a, b, undefined], 'the texts in it')
      const late = await broker.join(session)
      same(bodies(late), [json('2 a'), json('2 b'), json('end a')], 'the snapshot')
      same(late.replay.map((one) => received(one).piece), [a, b, undefined], 'the texts in it')
      const knows = await broker.join(session, { since: positionOf(late) })
      same(knows.replay.map((one) => received(one).piece), [b], 'the texts for a subscriber that has received the end')
    }
  },
  {
    name: 'a job\'s text that arrives after a presumed end is replayed before that end',
    run: async (stage) => {
      const { broker } = await stage.open()
      for (const [stream, first] of [['session:none', []], ['session:some', [json('1')]]] as const) {
        const since = positionOf(await broker.join(stream))
        await broker.publish(stream, json('start'), report('start', { jobId: 'a' }))
        for (const body of first) await broker.publish(stream, body, report('progress', { jobId: 'a' }))
        await broker.publish(stream, json('stalled'), report('error', { jobId: 'a', presumed: true }))
        await broker.publish(stream, json('late'), text('after all', 'a'))
        same(bodies(await broker.join(stream, { since })), [json('start'), json('late'), json('stalled')], `the replay after a reconnect to ${stream}`)
        same(bodies(await broker.join(stream)), [json('late'), json('stalled')], `the snapshot of ${stream}`)
      }
    }
  }
]

function piece (text: string, offset: number): { text: string, offset: number, truncated: boolean } {
  return { text, offset, truncated: false }
}

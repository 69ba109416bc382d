import type { Test } from 'tap'
import { bodies, json, pieceOf, positionOf, report, session, text, type Start } from './contract-stage.js'

const BULB = '💡'
const [HIGH, LOW] = [BULB[0]!, BULB[1]!]

/** Tests the text of a running job: a subscriber that joins at any time can assemble all of it. */
export function textContract (t: Test, start: Start): void {
  t.test('a job\'s text', (t) => {
    t.test('is delivered piece by piece, each with its offset', async (t) => {
      const { broker, node } = await start(t)
      const pieces = ['one ', 'é', '', `${BULB}two`]
      for (const [i, piece] of pieces.entries()) await broker.publish(session, json(String(i)), text(piece, 'j'))
      const delivered = await node.until(session, json('3'))
      t.strictSame(delivered.map(pieceOf), [
        { text: 'one ', offset: 0, truncated: false }, { text: 'é', offset: 4, truncated: false },
        { text: '', offset: 5, truncated: false }, { text: `${BULB}two`, offset: 5, truncated: false }
      ])
      t.strictSame(delivered[3]?.text?.source.slice(0), { text: pieces.join(''), offset: 0, truncated: false }, 'and the source returns all of it')
    })

    t.test('belongs to one job, and a job without text delivers none', async (t) => {
      const { broker, node } = await start(t)
      await broker.publish(session, json('a'), text('of a', 'a'))
      await broker.publish(session, json('b'), text('of b', 'b'))
      await broker.publish(session, json('c'), report('progress', { jobId: 'c' }))
      t.strictSame((await node.until(session, json('c'))).map(pieceOf), [
        { text: 'of a', offset: 0, truncated: false }, { text: 'of b', offset: 0, truncated: false }, undefined
      ])
    })

    t.test('has a span in each later progress, so that one without new text can replace an older one', async (t) => {
      const { broker, node } = await start(t)
      await broker.publish(session, json('1'), text('abc', 'j'))
      await broker.publish(session, json('2'), report('progress', { jobId: 'j' }))
      const delivered = await node.until(session, json('2'))
      t.match(delivered[1]?.text, { from: 3, to: 3 })
      t.strictSame(delivered[1]?.text?.source.slice(0, 3).text, 'abc')
    })

    t.test('never ends in half of a surrogate pair, except at its end', async (t) => {
      const { broker, node } = await start(t)
      await broker.publish(session, json('1'), text(`a${HIGH}`, 'j'))
      await broker.publish(session, json('2'), text(`${LOW}b${HIGH}`, 'j'))
      await broker.publish(session, json('end'), report('complete', { jobId: 'j' }))
      const delivered = await node.until(session, json('end'))
      t.strictSame(delivered.map(pieceOf), [
        { text: 'a', offset: 0, truncated: false }, { text: `${BULB}b`, offset: 1, truncated: false },
        { text: HIGH, offset: 4, truncated: false }, undefined
      ], 'the half that was held back is delivered right before the end')
      t.strictSame(delivered.map(({ seq, jobId }) => [seq, jobId]), [[undefined, 'j'], [undefined, 'j'], [undefined, 'j'], [1, 'j']])
      t.strictSame((await broker.join(session)).replay.map(pieceOf), [{ text: `a${BULB}b${HIGH}`, offset: 0, truncated: false }, undefined])
    })

    t.test('is replayed in full to a late subscriber, up to the revision of the result', async (t) => {
      const { broker, node } = await start(t)
      await broker.publish(session, json('start'), report('start', { jobId: 'j' }))
      for (const piece of ['one ', 'two ']) await broker.publish(session, json(piece), text(piece, 'j'))
      const joined = await broker.join(session)
      await broker.publish(session, json('after'), text('three', 'j'))
      t.strictSame(bodies(joined), [json('start'), json('two ')])
      t.strictSame(joined.replay.map(pieceOf), [undefined, { text: 'one two ', offset: 0, truncated: false }])
      t.strictSame(pieceOf((await node.until(session, json('after'))).at(-1)!), { text: 'three', offset: 8, truncated: false })
    })

    t.test('is replayed in full after a reconnect, whether its job runs or has ended, and always before the end', async (t) => {
      const { broker } = await start(t)
      const since = positionOf(await broker.join(session))
      for (const jobId of ['a', 'b']) await broker.publish(session, json(`1 ${jobId}`), text(`${jobId} begins, `, jobId))
      for (const jobId of ['a', 'b']) await broker.publish(session, json(`2 ${jobId}`), text('goes on', jobId))
      await broker.publish(session, json('end a'), report('complete', { jobId: 'a' }))
      const whole = (jobId: string): object => ({ text: `${jobId} begins, goes on`, offset: 0, truncated: false })
      const back = await broker.join(session, since)
      t.equal(back.recovered, true)
      t.strictSame(bodies(back), [json('2 a'), json('2 b'), json('end a')])
      t.strictSame(back.replay.map(pieceOf), [whole('a'), whole('b'), undefined])
      const present = await broker.join(session)
      t.strictSame(bodies(present), [json('2 a'), json('2 b'), json('end a')])
      t.strictSame(present.replay.map(pieceOf), [whole('a'), whole('b'), undefined])
      const knows = await broker.join(session, positionOf(present))
      t.strictSame(knows.replay.map(pieceOf), [whole('b')], 'a subscriber that has received the end has all of the text')
    })

    t.test('that arrives after a presumed end is replayed before that end', async (t) => {
      for (const first of [[], [json('1')]]) {
        const { broker } = await start(t)
        const since = positionOf(await broker.join(session))
        await broker.publish(session, json('start'), report('start', { jobId: 'a' }))
        for (const body of first) await broker.publish(session, body, report('progress', { jobId: 'a' }))
        await broker.publish(session, json('stalled'), report('error', { jobId: 'a', presumed: true }))
        await broker.publish(session, json('late'), text('after all', 'a'))
        const told = [json('late'), json('stalled')]
        t.strictSame(bodies(await broker.join(session, since)), [json('start'), ...told], 'after a reconnect')
        t.strictSame(bodies(await broker.join(session)), told, 'for a new subscriber')
      }
    })

    t.test('is truncated to its newest part if it exceeds the limit', async (t) => {
      const { broker, node } = await start(t, { maxTextUnits: 100 })
      let all = ''
      for (let i = 0; i < 30; i++) {
        const piece = `${i} ${BULB}, `
        all += piece
        await broker.publish(session, json(String(i)), text(piece, 'j'))
      }
      const delivered = await node.until(session, json('29'))
      t.strictSame(pieceOf(delivered.at(-1)!), { text: `29 ${BULB}, `, offset: all.length - 7, truncated: false }, 'subscribers that keep up get all of it')
      const [progress] = (await broker.join(session)).replay
      const kept = pieceOf(progress!)!
      t.equal(kept.truncated, true)
      t.ok(kept.text.length <= 100 && kept.text.length >= 80, `${kept.text.length} are kept`)
      t.equal(kept.text, all.slice(kept.offset))
      t.notOk(/^[\udc00-\udfff]|[\ud800-\udbff]$/.test(kept.text), 'and no surrogate pair was split')
    })
    t.end()
  })
}

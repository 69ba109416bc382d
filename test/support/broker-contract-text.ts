import type { Test } from 'tap'
import { bodies, json, pieceOf, positionOf, report, session, text, type Start } from './contract-stage.js'

const BULB = '💡'
const [HIGH, LOW] = [BULB[0]!, BULB[1]!]

/** The running text of a job: whoever comes, whenever it comes, can stitch it together. */
export function textContract (t: Test, start: Start): void {
  t.test('a job\'s text', (t) => {
    t.test('is told piece by piece, each where it begins', async (t) => {
      const { broker, node } = await start(t)
      const pieces = ['one ', 'é', '', `${BULB}two`]
      for (const [i, piece] of pieces.entries()) await broker.publish(session, json(String(i)), text(piece, 'j'))
      const delivered = await node.until(session, json('3'))
      t.strictSame(delivered.map(pieceOf), [
        { text: 'one ', offset: 0, truncated: false }, { text: 'é', offset: 4, truncated: false },
        { text: '', offset: 5, truncated: false }, { text: `${BULB}two`, offset: 5, truncated: false }
      ])
      t.ok(delivered.every(({ textAt }) => textAt === 1), 'and where in the body it may be put in')
      t.strictSame(delivered[3]?.text?.source.slice(0), { text: pieces.join(''), offset: 0, truncated: false }, 'and more of it can be asked for')
    })

    t.test('is each job\'s own, and one that has none brings none', async (t) => {
      const { broker, node } = await start(t)
      await broker.publish(session, json('a'), text('of a', 'a'))
      await broker.publish(session, json('b'), text('of b', 'b'))
      await broker.publish(session, json('c'), report('progress', { jobId: 'c' }))
      t.strictSame((await node.until(session, json('c'))).map(pieceOf), [
        { text: 'of a', offset: 0, truncated: false }, { text: 'of b', offset: 0, truncated: false }, undefined
      ])
    })

    t.test('is spoken of by each later progress, so that one without news can take an older one\'s place', async (t) => {
      const { broker, node } = await start(t)
      await broker.publish(session, json('1'), text('abc', 'j'))
      await broker.publish(session, json('2'), report('progress', { jobId: 'j' }))
      const delivered = await node.until(session, json('2'))
      t.match(delivered[1]?.text, { from: 3, to: 3 })
      t.strictSame(delivered[1]?.text?.source.slice(0, 3).text, 'abc')
    })

    t.test('never ends in half a character, but at its end', async (t) => {
      const { broker, node } = await start(t)
      await broker.publish(session, json('1'), text(`a${HIGH}`, 'j'))
      await broker.publish(session, json('2'), text(`${LOW}b${HIGH}`, 'j'))
      await broker.publish(session, json('end'), report('complete', { jobId: 'j' }))
      const delivered = await node.until(session, json('end'))
      t.strictSame(delivered.map(pieceOf), [
        { text: 'a', offset: 0, truncated: false }, { text: `${BULB}b`, offset: 1, truncated: false },
        { text: HIGH, offset: 4, truncated: false }, undefined
      ], 'what was held back comes right before the end')
      t.strictSame(delivered.map(({ seq, jobId }) => [seq, jobId]), [[undefined, 'j'], [undefined, 'j'], [undefined, 'j'], [1, 'j']])
      t.strictSame((await broker.join(session)).replay.map(pieceOf), [{ text: `a${BULB}b${HIGH}`, offset: 0, truncated: false }, undefined])
    })

    t.test('is given whole to who comes late, up to the point of the answer', async (t) => {
      const { broker, node } = await start(t)
      await broker.publish(session, json('start'), report('start', { jobId: 'j' }))
      for (const piece of ['one ', 'two ']) await broker.publish(session, json(piece), text(piece, 'j'))
      const joined = await broker.join(session)
      await broker.publish(session, json('after'), text('three', 'j'))
      t.strictSame(bodies(joined), [json('start'), json('two ')])
      t.strictSame(joined.replay.map(pieceOf), [undefined, { text: 'one two ', offset: 0, truncated: false }])
      t.strictSame(pieceOf((await node.until(session, json('after'))).at(-1)!), { text: 'three', offset: 8, truncated: false })
    })

    t.test('is given whole to who comes back, running or ended meanwhile, and always before the end', async (t) => {
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
      t.strictSame(knows.replay.map(pieceOf), [whole('b')], 'who knows of an end has had all of it')
    })

    t.test('that came after an end which was only presumed comes before that end all the same', async (t) => {
      for (const first of [[], [json('1')]]) {
        const { broker } = await start(t)
        const since = positionOf(await broker.join(session))
        await broker.publish(session, json('start'), report('start', { jobId: 'a' }))
        for (const body of first) await broker.publish(session, body, report('progress', { jobId: 'a' }))
        await broker.publish(session, json('stalled'), report('error', { jobId: 'a', presumed: true }))
        await broker.publish(session, json('late'), text('after all', 'a'))
        const told = [json('late'), json('stalled')]
        t.strictSame(bodies(await broker.join(session, since)), [json('start'), ...told], 'for who comes back')
        t.strictSame(bodies(await broker.join(session)), told, 'for who comes')
      }
    })

    t.test('is kept within its bound, the newest of it, and says so', async (t) => {
      const { broker, node } = await start(t, { maxTextUnits: 100 })
      let all = ''
      for (let i = 0; i < 30; i++) {
        const piece = `${i} ${BULB}, `
        all += piece
        await broker.publish(session, json(String(i)), text(piece, 'j'))
      }
      const delivered = await node.until(session, json('29'))
      t.strictSame(pieceOf(delivered.at(-1)!), { text: `29 ${BULB}, `, offset: all.length - 7, truncated: false }, 'those who keep up notice nothing')
      const [progress] = (await broker.join(session)).replay
      const kept = pieceOf(progress!)!
      t.equal(kept.truncated, true)
      t.ok(kept.text.length <= 100 && kept.text.length >= 80, `${kept.text.length} are kept`)
      t.equal(kept.text, all.slice(kept.offset))
      t.notOk(/^[\udc00-\udfff]|[\ud800-\udbff]$/.test(kept.text), 'and no character was cut')
    })
    t.end()
  })
}

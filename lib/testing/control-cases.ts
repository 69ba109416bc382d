import type { Revocation } from '../streams/broker.js'
import type { ContractCase } from './contract-case.js'
import { holds, same } from './expect.js'
import { durable, json, other, report, session } from './reports.js'

const results = [true, false, 'failed'] as const
const everywhere: Revocation = { userId: 'one' }
const inSession: Revocation = { userId: 'two', sessionId: 'one' }

/** Revocations and cancels, and the end of a broker. */
export const controlCases: readonly ContractCase[] = [
  {
    name: 'a revocation is carried out on this node before revoke settles',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      for (const revocation of [everywhere, inSession]) {
        await broker.revoke(revocation)
        same(node.revocations.at(-1), revocation, 'the latest revocation')
      }
      same(node.revocations.length, 2, 'the number of revocations')
    }
  },
  {
    name: 'a cancel reaches this node if it owns the job or nobody does, and returns its result',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      await broker.publish(session, json('start'), report('start', { jobId: 'own' }))
      await broker.publish(session, json('start'), report('start', { jobId: 'over' }))
      await broker.publish(session, json('end'), report('complete', { jobId: 'over' }))
      for (const jobId of ['own', 'over', 'unknown']) {
        for (const result of results) {
          node.cancelResult = result
          same(await broker.cancel(session, jobId), result, `the result for the job "${jobId}"`)
          same(node.all('cancel').at(-1), { type: 'cancel', stream: session, jobId }, 'the latest cancel')
        }
      }
      same(node.all('cancel').length, 9, 'the number of cancels')
    }
  },
  {
    name: 'a revocation is carried out on every node before revoke settles',
    needs: ['nodes'],
    run: async (stage) => {
      const nodes = [await stage.open(), await stage.open(), await stage.open()]
      for (const [at, { broker }] of nodes.entries()) {
        await broker.revoke(at === 0 ? everywhere : inSession)
        for (const { node } of nodes) same(node.revocations, [everywhere, inSession, inSession].slice(0, at + 1), `the revocations of each node, after ${at + 1}`)
      }
    }
  },
  {
    name: 'a cancel reaches only the node that owns the job, and returns its result',
    needs: ['nodes'],
    run: async (stage) => {
      const [a, b, c] = [await stage.open(), await stage.open(), await stage.open()]
      await a.broker.publish(session, json('start'), report('start', { jobId: 'j' }))
      for (const result of results) {
        a.node.cancelResult = result
        same(await b.broker.cancel(session, 'j'), result, 'the result of the owner')
      }
      same(a.node.all('cancel'), results.map(() => ({ type: 'cancel', stream: session, jobId: 'j' })), 'the cancels of the owner')
      await c.broker.adopt(session, 'j')
      c.node.cancelResult = 'failed'
      same(await a.broker.cancel(session, 'j'), 'failed', 'the result of the new owner')
      b.node.cancelResult = false
      same(await b.broker.cancel(session, 'unknown'), false, 'the result for an unknown job')
      await a.broker.publish('all', json('last'), durable)
      for (const { node } of [a, b, c]) await node.until('all', json('last'))
      same([a, b, c].map(({ node }) => node.all('cancel').length), [3, 1, 1], 'the number of cancels of each node')
    }
  },
  {
    name: 'a question is answered by this node',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      node.answered = 'é'.repeat(100_000)
      const { answers, missing } = await broker.ask('how many?')
      same(answers.map(({ answer }) => answer), [node.answered], 'the answers')
      same(missing, [], 'the missing nodes')
      same(node.all('answer'), [{ type: 'answer', question: 'how many?' }], 'the questions to the node')
    }
  },
  {
    name: 'a question is answered by every node once, and the answers name the nodes',
    needs: ['nodes'],
    run: async (stage) => {
      const nodes = [await stage.open(), await stage.open(), await stage.open()]
      for (const [at, { node }] of nodes.entries()) node.answered = `answer ${at}`
      const named = new Map<string, string>()
      for (const { broker } of nodes) {
        const { answers, missing } = await broker.ask('who?')
        same(missing, [], 'the missing nodes')
        same(answers.map(({ answer }) => answer).sort(), ['answer 0', 'answer 1', 'answer 2'], 'the answers')
        for (const { node, answer } of answers) {
          same(named.get(answer) ?? node, node, `the name of the node that answers "${answer}"`)
          named.set(answer, node)
        }
      }
      same(new Set(named.values()).size, 3, 'the number of different names')
      for (const { node } of nodes) same(node.all('answer').length, 3, 'the number of questions to each node')
    }
  },
  {
    name: 'a node that is disconnected is missing among the answers, and gets the own one',
    needs: ['nodes', 'disconnect'],
    run: async (stage) => {
      const [a, b] = [await stage.open(), await stage.open()]
      a.node.answered = 'a'
      b.node.answered = 'b'
      const before = await a.broker.ask('who?')
      const names = new Map(before.answers.map(({ node, answer }) => [answer, node]))
      await stage.disconnect(b.broker)
      const [others, own] = [await a.broker.ask('who?'), await b.broker.ask('who?')]
      same(others, { answers: [{ node: names.get('a'), answer: 'a' }], missing: [names.get('b')] }, 'the answers to the connected node')
      same(own, { answers: [{ node: names.get('b'), answer: 'b' }], missing: [names.get('a')] }, 'the answers to the disconnected node')
      await stage.reconnect(b.broker)
      same((await b.broker.ask('who?')).missing, [], 'the missing nodes after the reconnect')
    }
  },
  {
    name: 'a question does not wait for a node that is dead',
    needs: ['nodes', 'kill'],
    run: async (stage) => {
      const [a, b] = [await stage.open(), await stage.open()]
      await stage.kill(b.broker)
      const { answers, missing } = await a.broker.ask('who?')
      same(answers.length, 1, 'the number of answers')
      same(missing, [], 'the missing nodes')
    }
  },
  {
    name: 'revoke rejects if a node does not confirm it, and that node carries it out before it delivers anything',
    needs: ['nodes', 'disconnect'],
    run: async (stage) => {
      const [a, b] = [await stage.open(), await stage.open()]
      for (const { broker } of [a, b]) await broker.join(session)
      await a.broker.publish(session, json('before'), durable)
      await b.node.until(session, json('before'))
      await stage.disconnect(b.broker)
      const outcome = await a.broker.revoke(inSession).catch((error: unknown) => error)
      holds(outcome !== undefined, 'revoke resolved, although a node was disconnected')
      holds(outcome instanceof Error && outcome.message !== '', 'revoke rejected without an error that names the missing node')
      same(a.node.revocations, [inSession], 'the revocations of the connected node')
      await a.broker.publish(session, json('after'), durable)
      await a.broker.publish('all', json('after'), durable)
      await stage.reconnect(b.broker)
      await a.broker.publish(session, json('last'), durable)
      await b.node.until(session, json('last'))
      const events = b.node.events.filter(({ type }) => type === 'deliver' || type === 'revoke').map(({ type }) => type)
      same(events.slice(0, 2), ['deliver', 'revoke'], 'the first two events of the node that was disconnected')
      same(b.node.revocations, [inSession], 'its revocations')
    }
  },
  {
    name: 'revoke does not wait for a node that is dead',
    needs: ['nodes', 'kill'],
    run: async (stage) => {
      const [a, b] = [await stage.open(), await stage.open()]
      await stage.kill(b.broker)
      await a.broker.revoke(everywhere)
      same([a, b].map(({ node }) => node.revocations), [[everywhere], []], 'the revocations of each node')
    }
  },
  {
    name: 'a cancel of a job whose owner is dead reaches the node that calls',
    needs: ['nodes', 'kill'],
    run: async (stage) => {
      const [a, b] = [await stage.open(), await stage.open()]
      await a.broker.publish(session, json('start'), report('start', { jobId: 'j' }))
      await stage.kill(a.broker)
      for (const result of results) {
        b.node.cancelResult = result
        same(await b.broker.cancel(session, 'j'), result, 'the result')
      }
      same([a, b].map(({ node }) => node.all('cancel').length), [0, 3], 'the number of cancels of each node')
    }
  },
  {
    name: 'a broker that is disconnected reports its status, and that it is ready again after it',
    needs: ['nodes', 'disconnect'],
    run: async (stage) => {
      const { broker, node } = await stage.open()
      const state = (): string | undefined => broker.original.status?.().state
      same(state(), 'ready', 'the status of an open broker')
      await stage.disconnect(broker)
      await node.waitFor('a status other than ready', () => node.all('statusChanged').find(({ status }) => status.state !== 'ready'))
      holds(state() !== 'ready', 'the status is ready, although the broker has reported another one')
      await stage.reconnect(broker)
      await node.waitFor('the status ready', () => node.all('statusChanged').at(-1)?.status.state === 'ready' || undefined)
      same(state(), 'ready', 'the status after the reconnect')
    }
  },
  {
    name: 'a closed broker delivers nothing, and another node still gets everything',
    needs: ['nodes'],
    run: async (stage) => {
      const [a, b] = [await stage.open(), await stage.open()]
      for (const { broker } of [a, b]) await broker.join(session)
      await b.broker.publish(session, json('before'), durable)
      await a.node.until(session, json('before'))
      await a.broker.close()
      await b.broker.publish(session, json('after'), durable)
      await b.broker.publish('all', json('after'), durable)
      await b.node.until('all', json('after'))
      await b.broker.revoke(everywhere)
      same(a.node.events.filter(({ type }) => type === 'deliver' || type === 'revoke').length, 1, 'the events of the closed node')
    }
  },
  {
    name: 'a closed broker delivers nothing, whatever is called',
    run: async (stage) => {
      const { broker, node } = await stage.open()
      for (const stream of [session, other]) await broker.join(stream)
      await broker.publish(session, json('before'), durable)
      await node.until(session, json('before'))
      await broker.close()
      const before = node.events.length
      // The broker may reject these calls.
      await Promise.allSettled([
        broker.publish(session, json('after'), durable), broker.publish('all', json('after'), durable), broker.revoke(everywhere), broker.cancel(session, 'j')
      ])
      same(node.events.slice(before), [], 'the events after close')
    }
  }
]

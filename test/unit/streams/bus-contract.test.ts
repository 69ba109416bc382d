import t from 'tap'
import { brokerContract } from '../../../lib/testing/index.js'
import { busFixture } from '../../support/bus-fixture.js'

for (const seed of [1, 2, 3, 4, 5, 6]) {
  t.test(`with the delays of seed ${seed}${seed % 2 === 0 ? ', and bodies in UTF-8' : ''}`, (t) => {
    const create = (): ReturnType<typeof busFixture> => busFixture(seed, { asBytes: seed % 2 === 0 })
    for (const { name, run } of brokerContract({ create, hasManyNodes: true, canLose: true, canDisconnect: true, canKill: true })) t.test(name, run)
    t.end()
  })
}

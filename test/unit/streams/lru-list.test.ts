import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { LruList, type LruItem } from '../../../lib/streams/lru-list.js'

class Item implements LruItem<Item> {
  list: LruList<Item> | undefined
  older: Item | undefined
  younger: Item | undefined
}

/** Returns the items from the oldest to the youngest, and checks that the backward links match. */
function read (list: LruList<Item>): Item[] {
  const items: Item[] = []
  for (let item = list.oldest; item !== undefined; item = item.younger) {
    assert.equal(item.older, items.at(-1))
    assert.equal(item.list, list)
    items.push(item)
  }
  return items
}

t.test('two lists keep the order of insertion, whatever is moved and removed', async () => {
  const items = Array.from({ length: 6 }, () => new Item())
  fc.assert(fc.property(fc.array(fc.tuple(fc.nat(5), fc.constantFrom('first', 'second', 'none'))), (steps) => {
    const lists = { first: new LruList<Item>(), second: new LruList<Item>() }
    const model: Record<'first' | 'second', Item[]> = { first: [], second: [] }
    for (const [at, where] of steps) {
      const item = items[at]!
      for (const name of ['first', 'second'] as const) model[name] = model[name].filter((other) => other !== item)
      if (where === 'none') {
        item.list?.remove(item)
      } else {
        lists[where].add(item)
        model[where].push(item)
      }
      for (const name of ['first', 'second'] as const) {
        assert.deepEqual(read(lists[name]).map((each) => items.indexOf(each)), model[name].map((each) => items.indexOf(each)))
      }
    }
    for (const item of items) item.list?.remove(item)
  }))
})

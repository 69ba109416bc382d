/** An item of an `LruList`. The list maintains these fields. */
export interface LruItem<T extends LruItem<T>> {
  list: LruList<T> | undefined
  older: T | undefined
  younger: T | undefined
}

/**
 * A doubly linked list in LRU order. Adding, moving and removing an item take constant time.
 * In a `Set`, finding the oldest item skips those deleted before it (benchmark rows `lru`, `lru-evicting`).
 */
export class LruList<T extends LruItem<T>> {
  #oldest: T | undefined
  #youngest: T | undefined

  get oldest (): T | undefined {
    return this.#oldest
  }

  /** Iterates from the oldest item. The current item may be moved or removed. */
  * [Symbol.iterator] (): Iterator<T> {
    for (let item = this.#oldest; item !== undefined;) {
      const { younger }: T = item
      yield item
      item = younger
    }
  }

  /** Appends an item at the young end, after removing it from the list that it is in. */
  add (item: T): void {
    item.list?.remove(item)
    item.list = this
    item.older = this.#youngest
    if (item.older === undefined) this.#oldest = item
    else item.older.younger = item
    this.#youngest = item
  }

  /** Removes an item, which must be in this list. */
  remove (item: T): void {
    const { older, younger } = item
    if (older === undefined) this.#oldest = younger
    else older.younger = younger
    if (younger === undefined) this.#youngest = older
    else younger.older = older
    item.list = item.older = item.younger = undefined
  }
}

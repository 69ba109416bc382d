/** What stands in an age list. Its fields are the list's. */
export interface LruItem<T extends LruItem<T>> {
  among: LruList<T> | undefined
  older: T | undefined
  younger: T | undefined
}

/** A list by age. To put something at its young end, wherever it was, costs the same however many there are. */
export class LruList<T extends LruItem<T>> {
  #oldest: T | undefined
  #youngest: T | undefined

  get oldest (): T | undefined {
    return this.#oldest
  }

  /** From the oldest. The one that is given may be moved meanwhile. */
  * [Symbol.iterator] (): Iterator<T> {
    for (let item = this.#oldest; item !== undefined;) {
      const { younger }: T = item
      yield item
      item = younger
    }
  }

  /** Takes it out of the list that it is in, and puts it at the young end of this one. */
  add (item: T): void {
    item.among?.remove(item)
    item.among = this
    item.older = this.#youngest
    if (item.older === undefined) this.#oldest = item
    else item.older.younger = item
    this.#youngest = item
  }

  /** It must be in this list. */
  remove (item: T): void {
    const { older, younger } = item
    if (older === undefined) this.#oldest = younger
    else older.younger = younger
    if (younger === undefined) this.#youngest = older
    else younger.older = older
    item.among = item.older = item.younger = undefined
  }
}

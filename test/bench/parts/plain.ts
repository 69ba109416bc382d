// The plain versions of hand-made parts of the library.

/** An LRU list as a `Set` in insertion order. Each item knows the list that it is in. */
export class SetList<T extends { list: SetList<T> | undefined }> {
  readonly #items = new Set<T>()

  get oldest (): T | undefined {
    for (const item of this.#items) return item
    return undefined
  }

  add (item: T): void {
    item.list?.remove(item)
    item.list = this
    this.#items.add(item)
  }

  remove (item: T): void {
    this.#items.delete(item)
  }
}

/** Keeps pieces of text as they are. */
export class PlainText {
  readonly #pieces: string[] = []
  units = 0

  append (piece: string): void {
    this.#pieces.push(piece)
    this.units += piece.length
  }
}

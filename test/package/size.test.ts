import t from 'tap'
import { bounds, ownSizes, sizeOf } from './size.js'

t.test('the client is small, and the hooks add little to it', async (t) => {
  const sizes = await ownSizes()
  for (const part of ['client', 'react'] as const) {
    t.comment(`${part}: ${sizes[part]} bytes`)
    t.ok(sizes[part] > 1000, 'there is something')
    t.ok(sizes[part] <= bounds[part], `${part}: ${sizes[part]} of ${bounds[part]} bytes`)
  }
})

t.test('what an entry point loads is counted, but React', async (t) => {
  const directory = t.testdir({
    'noise.js': `export const noise = ${JSON.stringify(Array.from({ length: 500 }, (_, i) => (i * 7919 % 1000).toString(36)).join(''))}`
  })
  const [empty, loaded, react] = [
    await sizeOf('export const x = 1', directory),
    await sizeOf('export * from "./noise.js"', directory),
    await sizeOf('export { useState } from "react"', directory)
  ]
  t.ok(loaded > empty + 300, `${loaded} bytes`)
  t.ok(react < 100, `${react} bytes`)
})

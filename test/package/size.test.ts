import { gzipSync } from 'node:zlib'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import t from 'tap'

// What a page pays: everything that an entry point loads, minified and gzipped. React itself is the page's own.

const KB = 1024
const bounds = { client: 6 * KB, react: 1.5 * KB }

async function sizeOf (entry: string): Promise<number> {
  const { outputFiles } = await build({
    stdin: { contents: entry, resolveDir: fileURLToPath(new URL('../../lib/', import.meta.url)), loader: 'ts' },
    bundle: true, minify: true, write: false, format: 'esm', target: 'es2022', external: ['react'], logLevel: 'silent'
  })
  return gzipSync(outputFiles[0]!.contents, { level: 9 }).length
}

const client = await sizeOf('export * from "./client/index.js"')
const both = await sizeOf('export * from "./react/index.js"; export * from "./client/index.js"')

t.test('the client is small', async (t) => {
  t.comment(`${client} bytes`)
  t.ok(client > 1000, 'there is something')
  t.ok(client <= bounds.client, `${client} of ${bounds.client} bytes`)
})

t.test('the hooks add little to it', async (t) => {
  t.comment(`${both - client} bytes more`)
  t.ok(both > client, 'there is something')
  t.ok(both - client <= bounds.react, `${both - client} of ${bounds.react} bytes`)
})

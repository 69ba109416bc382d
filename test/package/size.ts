import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'

// Measures what a page downloads: everything that an entry point loads, minified and gzipped. React is not included, because
// the page loads it anyway.

const KB = 1024
const LIB = fileURLToPath(new URL('../../lib/', import.meta.url))

/** The promised maximum sizes, in bytes. The size of the hooks is the size that they add to the client. */
export const bounds = { client: 8 * KB, react: 2 * KB }

/** Other clients, each with the import of a page that uses it. lib/client/README.md compares the sizes. */
export const others: ReadonlyArray<readonly [name: string, version: string, entry: string]> = [
  ['socket.io-client', '4.8.4', 'export { io } from "socket.io-client"'],
  ['centrifuge', '5.8.0', 'export { Centrifuge } from "centrifuge"'],
  ['partysocket', '1.3.0', 'export { WebSocket } from "partysocket"'],
  ['react-use-websocket', '4.13.0', 'export { default } from "react-use-websocket"']
]

/** Returns the size of a module, in bytes. Its imports are resolved from the directory. */
export async function sizeOf (entry: string, directory: string): Promise<number> {
  const { outputFiles } = await build({
    stdin: { contents: entry, resolveDir: directory, loader: 'ts' },
    bundle: true, minify: true, write: false, format: 'esm', target: 'es2022', external: ['react', 'react-dom'], logLevel: 'silent'
  })
  return gzipSync(outputFiles[0]!.contents, { level: 9 }).length
}

export async function ownSizes (): Promise<typeof bounds> {
  const client = await sizeOf('export * from "./client/index.js"', LIB)
  const both = await sizeOf('export * from "./react/index.js"; export * from "./client/index.js"', LIB)
  return { client, react: both - client }
}

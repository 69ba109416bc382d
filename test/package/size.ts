import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'

// What a page pays: everything that an entry point loads, minified and gzipped. React itself is the page's own.

const KB = 1024
const LIB = fileURLToPath(new URL('../../lib/', import.meta.url))

/** What is promised, in bytes. The hooks' are those that they add to the client. */
export const bounds = { client: 8 * KB, react: 2 * KB }

/** Clients of others, and what a page imports that uses one. lib/client/README.md compares with them. */
export const others: ReadonlyArray<readonly [name: string, version: string, entry: string]> = [
  ['socket.io-client', '4.8.4', 'export { io } from "socket.io-client"'],
  ['centrifuge', '5.8.0', 'export { Centrifuge } from "centrifuge"'],
  ['partysocket', '1.3.0', 'export { WebSocket } from "partysocket"'],
  ['react-use-websocket', '4.13.0', 'export { default } from "react-use-websocket"']
]

/** The size of a module, in bytes. Its imports are found from the directory. */
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

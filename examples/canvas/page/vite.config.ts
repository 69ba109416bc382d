import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vite'

/** The package's own sources, so that a page needs no build of the package before its own. */
export const sources = [{ find: /^ai-canvas-ws\/(\w+)$/, replacement: fileURLToPath(new URL('../../../lib/$1/index.ts', import.meta.url)) }]

export default defineConfig({
  resolve: { alias: sources },
  build: { modulePreload: { polyfill: false } }
})

import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vite'

/** Resolves the package to its sources, so that a page can be built before the package. */
export const sources = [{ find: /^ai-canvas-ws\/(\w+)$/, replacement: fileURLToPath(new URL('../../../lib/$1/index.ts', import.meta.url)) }]

export default defineConfig({
  resolve: { alias: sources },
  build: { modulePreload: { polyfill: false } }
})

import { defaultClientConditions, defineConfig } from 'vite'

export default defineConfig({
  // The package's own sources, so that the page needs no build of the package before its own
  resolve: { conditions: ['@ai-canvas-ws/source', ...defaultClientConditions] },
  build: { modulePreload: { polyfill: false } }
})

import { defaultClientConditions, defineConfig } from 'vite'

export default defineConfig({
  // Uses the package's sources, so that the page can be built before the package.
  resolve: { conditions: ['@ai-canvas-ws/source', ...defaultClientConditions] },
  build: { modulePreload: { polyfill: false } }
})

import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig } from 'vite'

const target = `http://localhost:${process.env.PORT ?? 3001}`

export default defineConfig({
  plugins: [svelte({ configFile: false })],
  server: {
    proxy: {
      '/api': { target },
      // An object and not a string: the string would change the Host header, and the server would refuse the page
      '/ws': { target, ws: true }
    }
  }
})

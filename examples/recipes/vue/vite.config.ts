import vue from '@vitejs/plugin-vue'
import { defineConfig } from 'vite'

const target = `http://localhost:${process.env.PORT ?? 3001}`

export default defineConfig({
  plugins: [vue()],
  server: {
    proxy: {
      '/api': { target },
      // An object and not a string: the string would change the Host header, and the server would refuse the page
      '/ws': { target, ws: true }
    }
  }
})

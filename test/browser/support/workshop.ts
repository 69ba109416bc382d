import { readFileSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import react from '@vitejs/plugin-react'
import type { Test } from 'tap'
import { createServer } from 'vite'
import { sources } from '../../../examples/canvas/page/vite.config.js'

const ROOT = join(import.meta.dirname, '../../..')

/** A page in development: Vite's dev server with React's Fast Refresh. */
export interface Workshop {
  /** The page's URL. Its components connect to the server there. */
  url (server: string): string
  /** Edits a file like an editor: replaces a text and saves. */
  edit (file: string, from: string, to: string): void
}

const INDEX = '<!doctype html><title>workshop</title><div id="root"></div><script type="module" src="/main.jsx"></script>'

export async function openWorkshop (t: Test, files: Readonly<Record<string, string>>): Promise<Workshop> {
  const root = t.testdir({ 'index.html': INDEX, ...files })
  const vite = await createServer({
    root,
    configFile: false,
    logLevel: 'silent',
    cacheDir: join(root, '.vite'),
    plugins: [react()],
    resolve: { alias: sources },
    // A dependency that Vite finds later would reload the whole page.
    optimizeDeps: { include: ['react', 'react-dom', 'react-dom/client', 'react/jsx-dev-runtime'] },
    server: {
      host: '127.0.0.1',
      port: 0,
      // Not every file system reports changes.
      watch: { usePolling: true, interval: 50 },
      fs: { allow: [ROOT] }
    }
  })
  t.teardown(() => vite.close())
  await vite.listen()
  const { port } = vite.httpServer!.address() as AddressInfo
  return {
    url: (server) => `http://127.0.0.1:${port}/?${new URLSearchParams({ server }).toString()}`,
    edit (file, from, to) {
      const path = join(root, file)
      const text = readFileSync(path, 'utf8')
      if (!text.includes(from)) throw new Error(`${file} does not contain ${from}`)
      writeFileSync(path, text.replace(from, () => to))
    }
  }
}

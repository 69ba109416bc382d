import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const ENTRY = fileURLToPath(new URL('../../../lib/client/index.ts', import.meta.url))

/** Builds the client as a script for pages and workers with the global `AICanvas`, like the bundle in lib/client/README.md. */
export async function clientScript (): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [ENTRY], bundle: true, minify: true, write: false, format: 'iife', globalName: 'AICanvas', target: 'es2022', logLevel: 'silent'
  })
  return outputFiles[0]!.text
}

import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { strip } from './strip.mjs'

// Module hooks: https://nodejs.org/api/module.html#customization-hooks

/** Imports name the JavaScript file that the compiler writes. Beside it, or instead of it, is the source. */
export function resolve (specifier, context, next) {
  if (/^(?:\.|file:).*\.js(?:\?|$)/.test(specifier)) {
    const source = new URL(specifier.replace(/\.js(?=\?|$)/, '.ts'), context.parentURL)
    if (existsSync(fileURLToPath(source))) return next(source.href, context)
  }
  return next(specifier, context)
}

/** A mock of tap's is the file with a query. */
export async function load (url, context, next) {
  if (!/\.ts(?:\?|$)/.test(url)) return await next(url, context)
  const { source } = await next(url, { ...context, format: 'module' })
  return { format: 'module', source: await strip(String(source)), shortCircuit: true }
}

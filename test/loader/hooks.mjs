import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { strip } from './strip.mjs'

// Module hooks: https://nodejs.org/api/module.html#customization-hooks

const LIB = new URL('../../lib/', import.meta.url)
const GROUP = new URL('group.mjs', import.meta.url)

/** Whether the process runs a group of test files. */
let isGroup = false

export function initialize (data) {
  isGroup = data.isGroup
}

/**
 * Resolves imports to sources. Imports name the JavaScript file that the compiler writes, but the source is beside it or in its
 * place. The same applies to imports of the package by its own name.
 */
export function resolve (specifier, context, next) {
  const [own, entry = '.'] = /^ai-canvas-ws(?:\/(\w+))?$/.exec(specifier) ?? []
  if (own !== undefined) return next(new URL(`${entry}/index.ts`, LIB).href, context)
  if (isGroup && specifier === 'tap' && context.parentURL?.endsWith('.test.ts')) return { url: `group:${context.parentURL}`, shortCircuit: true }
  if (/^(?:\.|file:).*\.js(?:\?|$)/.test(specifier)) {
    for (const extension of ['.ts', '.tsx']) {
      const source = new URL(specifier.replace(/\.js(?=\?|$)/, extension), context.parentURL)
      if (existsSync(fileURLToPath(source))) return next(source.href, context)
    }
  }
  return next(specifier, context)
}

/** Loads sources. A query in the URL marks a mock by tap, and has no effect on the source. */
export async function load (url, context, next) {
  if (url.startsWith('group:')) {
    return { format: 'module', source: `import { fileTest } from '${GROUP.href}'\nexport default fileTest('${url.slice('group:'.length)}')`, shortCircuit: true }
  }
  const [extension] = /\.tsx?(?=\?|$)/.exec(url) ?? []
  if (extension === undefined) return await next(url, context)
  const { source } = await next(url, { ...context, format: 'module' })
  return { format: 'module', source: await (extension === '.ts' ? strip : transformJsx)(String(source)), shortCircuit: true }
}

/** Compiles a source with JSX. It is not enough to strip its types. No source whose coverage is measured contains JSX. */
async function transformJsx (source) {
  const { transform } = await import('esbuild')
  const { code } = await transform(source, { loader: 'tsx', jsx: 'automatic', sourcemap: 'inline' })
  return code
}

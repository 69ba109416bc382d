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

/** Imports name the JavaScript file that the compiler writes. Beside it, or instead of it, is the source. So it is for the package's own name. */
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

/** A mock of tap's is the file with a query. */
export async function load (url, context, next) {
  if (url.startsWith('group:')) {
    return { format: 'module', source: `import { fileTest } from '${GROUP.href}'\nexport default fileTest('${url.slice('group:'.length)}')`, shortCircuit: true }
  }
  const [extension] = /\.tsx?(?=\?|$)/.exec(url) ?? []
  if (extension === undefined) return await next(url, context)
  const { source } = await next(url, { ...context, format: 'module' })
  return { format: 'module', source: await (extension === '.ts' ? strip : transformJsx)(String(source)), shortCircuit: true }
}

/** JSX has to be compiled, not just stripped. No source that is measured holds any. */
async function transformJsx (source) {
  const { transform } = await import('esbuild')
  const { code } = await transform(source, { loader: 'tsx', jsx: 'automatic', sourcemap: 'inline' })
  return code
}

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { FunctionComponent } from 'react'
import type { Test } from 'tap'
import ts from 'typescript'
import { page as network } from '../react/dom.js'

// Components of a page's blocks, in a page of jsdom whose network is the test.

export { network }
// After the page: React looks for a document when it is loaded.
export const { act, cleanup, fireEvent, render, waitFor } = await import('@testing-library/react')
export const { createElement } = await import('react')
export const { renderToString } = await import('react-dom/server')

/** Returns the exports of a block with JSX. Other blocks that it imports are given by their file names. */
export async function loadComponents<Name extends string> (
  t: Test, code: string, others: Readonly<Record<string, string>> = {}
): Promise<Record<Name, FunctionComponent<Record<string, unknown>>>> {
  // Inside of the package, so that it can be imported by its name.
  const directory = t.testdir({})
  const write = (name: string, text: string): string => {
    const { outputText } = ts.transpileModule(text, {
      compilerOptions: { jsx: ts.JsxEmit.ReactJSX, module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 }
    })
    const path = join(directory, name)
    writeFileSync(path, outputText)
    return pathToFileURL(path).href
  }
  for (const [name, text] of Object.entries(others)) write(name, text)
  return await import(write('component.mjs', code)) as Record<Name, FunctionComponent<Record<string, unknown>>>
}

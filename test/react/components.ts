import { pathToFileURL } from 'node:url'
import type { FunctionComponent } from 'react'
import type { Test } from 'tap'
import ts from 'typescript'
import { page as network } from './dom.js'

// Loads the components of a documentation page's code blocks, for a page of jsdom. The test controls the other end of its network.

export { network }
// React looks for a document when it is loaded, so it is imported after the page.
export const { act, cleanup, fireEvent, render, waitFor } = await import('@testing-library/react')
export const { createElement } = await import('react')
export const { renderToString } = await import('react-dom/server')

const compilerOptions = { jsx: ts.JsxEmit.ReactJSX, module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 }
let loaded = 0

/** Returns the exports of a block with JSX. */
export async function loadComponents<Name extends string> (t: Test, code: string): Promise<Record<Name, FunctionComponent<Record<string, unknown>>>> {
  const { outputText } = ts.transpileModule(code, { compilerOptions })
  // The module is in a folder inside the package, so that it can import the package by its name. Each module needs its own name.
  const name = `component-${++loaded}.mjs`
  const directory = t.testdir({ [name]: outputText })
  return await import(pathToFileURL(`${directory}/${name}`).href) as Record<Name, FunctionComponent<Record<string, unknown>>>
}

import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { pages } from './pages.js'
import { typeErrors } from './snippets.js'

// Tests that apply to every page. The tables and blocks of a single page are tested in the file with its name.

const root = fileURLToPath(new URL('../../', import.meta.url))

t.test('every block of TypeScript compiles', async (t) => {
  // The blocks about stream protocols need the SDKs. The tests of the SDKs compile them.
  const ours = [...pages].filter(([path]) => /^(?:README|lib\/(?!jobs\/stream-protocols).*)\.md$/.test(path))
  const blocks = ours.flatMap(([path, page]) => page.blocks().filter(({ language }) => language.startsWith('ts'))
    .map(({ text, line, language }): [string, string] => [`${path.replaceAll('/', '-')}-line-${line}.${language}`.replace(/\.ts$/, ''), text]))
  t.ok(blocks.length > 10, 'there are some')
  t.same(await typeErrors(new Map(blocks)), [])
  t.match(await typeErrors(new Map([['wrong', 'app.wsManager.notifyAIStart(1, {})']])), [/^wrong\.ts:1 Argument of type 'number'/],
    'and a wrong one does not')
})

t.test('blocks are in languages that tests read', async (t) => {
  const known = ['ts', 'tsx', 'js', 'sh', 'json', 'text', 'python', 'nginx', 'haproxy', 'caddyfile']
  for (const [path, page] of pages) {
    if (path.startsWith('lib/') || !path.includes('/')) t.same(page.blocks().filter(({ language }) => !known.includes(language)), [], path)
  }
})

t.test('every command, file and chapter that a page names exists', async (t) => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> }
  for (const [from, { text }] of pages) {
    const missing: string[] = []
    for (const [command, name] of text.matchAll(/npm run ([\w:-]*\w)/g)) {
      if (!from.startsWith('examples/') && !Object.hasOwn(scripts, name!)) missing.push(command)
    }
    for (const [, link] of text.matchAll(/\]\((?!https?:)([^)]*)\)/g)) {
      const [path, anchor] = link!.split('#')
      const target = path === '' ? from : join(dirname(from), path!)
      if (!existsSync(join(root, target))) missing.push(link!)
      else if (anchor !== undefined && pages.get(target)?.headings.map(anchorOf).includes(anchor) !== true) missing.push(link!)
    }
    for (const [, path] of text.matchAll(/`((?:[\w.-]+\/)+[\w.-]+\.(?:[cm]?[jt]sx?|md|json))`/g)) {
      if (![root, join(root, dirname(from))].some((folder) => existsSync(join(folder, path!)))) missing.push(path!)
    }
    t.same(missing, [], from)
  }
})

/** Returns the anchor that GitHub generates for a heading. */
function anchorOf (heading: string): string {
  return heading.toLowerCase().replace(/[^\w\- ]/g, '').replaceAll(' ', '-')
}

t.test('the README links to every page', async (t) => {
  const { text } = pages.get('README.md')!
  const linked = [...text.matchAll(/\]\((?!https?:)([^)#]*)/g)].map(([, path]) => path)
  // The page of the examples links the page of each example, and CONTRIBUTING links the pages about the tests.
  const due = [...pages.keys()].filter((path) => path !== 'README.md' && !/^examples\/.+\/|^test\/(?!bench)|pull_request/.test(path))
  t.same(due.filter((path) => !linked.includes(path)), [])
})

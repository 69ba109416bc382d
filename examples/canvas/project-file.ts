import { constants } from 'node:fs'
import { open, realpath } from 'node:fs/promises'
import { extname, isAbsolute, relative, resolve, sep, win32 } from 'node:path'
import { AgentError } from './agents/agent.js'

export interface ProjectFile {
  /** Relative to the project root, with forward slashes. */
  path: string
  text: string
}

export interface ProjectFileRules {
  /** With the dot, in lower case. */
  extensions: readonly string[]
  maxBytes: number
}

/**
 * Validates a path without touching the disk, so that a route can reject it immediately. Throws an `AgentError` of type
 * `invalid_request_error`.
 */
export function checkPath (path: string, extensions: readonly string[]): void {
  if (path === '' || path.includes('\0')) throw refused(path, 'is not a path')
  if (isAbsolute(path) || win32.isAbsolute(path)) throw refused(path, 'is absolute: give it relative to the project root')
  if (path.split(/[\\/]/).includes('..')) throw refused(path, 'leaves the project with "..": give a path below the project root')
  if (!extensions.includes(extname(path).toLowerCase())) {
    throw refused(path, `is not of an accepted type: give a file that ends in ${extensions.join(', ')}`)
  }
}

/**
 * Reads a text file below `root`, with all symbolic links resolved. Throws an `AgentError`: `invalid_request_error`,
 * `not_found_error`, `permission_error` or `request_too_large`.
 */
export async function readProjectFile (root: string, path: string, rules: ProjectFileRules): Promise<ProjectFile> {
  checkPath(path, rules.extensions)
  const realRoot = await realpath(root)
  try {
    const target = await realpath(resolve(realRoot, path))
    if (!isBelow(realRoot, target)) throw refused(path, 'is a link that leads out of the project')
    // A link may have a harmless name and lead to another kind of file: page.ts -> .env
    checkPath(relative(realRoot, target), rules.extensions)
    return { path: relative(realRoot, target).split(sep).join('/'), text: await readText(target, path, rules.maxBytes) }
  } catch (error) {
    throw error instanceof AgentError ? error : unreadable(path, error)
  }
}

export function isBelow (root: string, target: string): boolean {
  const way = relative(root, target)
  return way !== '' && way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way)
}

async function readText (target: string, path: string, maxBytes: number): Promise<string> {
  // Without O_NONBLOCK, opening a named pipe would wait for its writer.
  const handle = await open(target, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    const stats = await handle.stat()
    if (!stats.isFile()) throw refused(path, 'is not a file: give the path of one file')
    if (stats.size > maxBytes) {
      throw new AgentError('request_too_large', `targetFile "${path}" has ${stats.size} bytes, the limit is ${maxBytes}: give a smaller file`)
    }
    return decode(await handle.readFile(), path)
  } finally {
    await handle.close()
  }
}

function decode (bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw refused(path, 'is not UTF-8 text')
  }
}

function refused (path: string, reason: string): AgentError {
  return new AgentError('invalid_request_error', `targetFile "${path}" ${reason}`)
}

function unreadable (path: string, error: unknown): unknown {
  switch (error instanceof Error && 'code' in error ? error.code : undefined) {
    case 'ENOENT':
    case 'ENOTDIR':
    case 'ELOOP':
      return new AgentError('not_found_error', `targetFile "${path}" does not exist: give a path relative to the project root`, { cause: error })
    case 'EACCES':
    case 'EPERM':
      return new AgentError('permission_error', `targetFile "${path}" can't be read by the server`, { cause: error })
    case 'ENAMETOOLONG':
      return refused(path, 'is too long')
    default:
      return error
  }
}

import { AssertionError } from 'node:assert/strict'
import { isDeepStrictEqual } from 'node:util'
import type { Joined } from '../streams/broker.js'

/** Throws unless two values are deeply equal. The error's message contains `what` and the difference. */
export function same (actual: unknown, expected: unknown, what: string): void {
  if (isDeepStrictEqual(actual, expected)) return
  const { message } = new AssertionError({ actual, expected, operator: 'deepStrictEqual' })
  throw new AssertionError({ actual, expected, operator: 'deepStrictEqual', message: `${what}: ${message}` })
}

/** Like `same`, but compares only the properties that `expected` has. A property that is undefined may be absent. */
export function match (actual: unknown, expected: unknown, what: string): void {
  same(project(actual, expected), expected, what)
}

/** Like `match` for the result of a join, whose replay must be empty. */
export function replaysNothing (joined: Joined, expected: Partial<Joined>, what: string): void {
  match(joined, { ...expected, replay: [] }, what)
}

/** Throws unless a condition holds. */
export function holds (condition: boolean, what: string): asserts condition {
  if (!condition) throw new AssertionError({ message: what })
}

/** Returns a value, and throws if it is undefined. */
export function present<T> (value: T | undefined, what: string): T {
  holds(value !== undefined, `${what} is missing`)
  return value
}

/** Returns the part of a value that has the shape of `expected`. */
function project (actual: unknown, expected: unknown): unknown {
  if (!isObject(actual) || !isObject(expected)) return actual
  if (Array.isArray(expected)) return Array.isArray(actual) ? actual.map((item, at) => project(item, expected[at])) : actual
  return Object.fromEntries(Object.entries(expected).map(([name, value]) => [name, project(actual[name], value)]))
}

function isObject (value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

/** Reads from an arbitrary value, such as one that a hook threw. Returns undefined if a getter or a proxy throws. */
function tryRead<T> (read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}

/** Returns whether a value is an `Error`. Never throws, unlike `instanceof`, which throws for a revoked proxy. */
export function isError (value: unknown): value is Error {
  return tryRead(() => value instanceof Error) === true
}

/** Returns a property of an arbitrary value, or undefined if there is none or reading it throws. */
export function fieldOf (value: unknown, name: string): unknown {
  if (isPrimitive(value)) return undefined
  return tryRead(() => (value as Record<string, unknown>)[name])
}

/** Returns the message of a thrown value. Any value can be thrown, and an error's `message` can be any value. */
export function messageOf (error: unknown): string {
  if (isPrimitive(error)) return String(error)
  const message = fieldOf(error, 'message')
  return typeof message === 'string' ? message : 'unknown error'
}

/** Returns a copy of an error whose properties can all be read, for logs. */
export function readableError (error: unknown): Error {
  const readable = new Error(messageOf(error))
  const [name, stack] = [fieldOf(error, 'name'), fieldOf(error, 'stack')]
  if (typeof name === 'string' && name !== '') readable.name = name
  // The copy's own stack would point to this function.
  readable.stack = typeof stack === 'string' ? stack : `${readable.name}: ${readable.message}`
  return readable
}

type Primitive = string | number | bigint | boolean | symbol | null | undefined

function isPrimitive (value: unknown): value is Primitive {
  return value === null || (typeof value !== 'object' && typeof value !== 'function')
}

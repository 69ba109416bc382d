/** Reads from a value that may be anything, such as what a hook threw. Returns undefined where a getter or a proxy throws. */
function tryRead<T> (read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}

/** Whether a value is an `Error`. Never throws: `instanceof` does for a revoked proxy. */
export function isError (value: unknown): value is Error {
  return tryRead(() => value instanceof Error) === true
}

/** A property of a value that may be anything. Undefined where there is none, and where reading it throws. */
export function fieldOf (value: unknown, name: string): unknown {
  if (isPrimitive(value)) return undefined
  return tryRead(() => (value as Record<string, unknown>)[name])
}

/** The message of whatever was thrown. JavaScript lets anything be thrown, and a message be anything. */
export function messageOf (error: unknown): string {
  if (isPrimitive(error)) return String(error)
  const message = fieldOf(error, 'message')
  return typeof message === 'string' ? message : 'unknown error'
}

/** A readable error in the place of one whose properties can't be read, for logs. */
export function readableError (error: unknown): Error {
  const readable = new Error(messageOf(error))
  const [name, stack] = [fieldOf(error, 'name'), fieldOf(error, 'stack')]
  if (typeof name === 'string' && name !== '') readable.name = name
  // Its own would say only where it was described.
  readable.stack = typeof stack === 'string' ? stack : `${readable.name}: ${readable.message}`
  return readable
}

type Primitive = string | number | bigint | boolean | symbol | null | undefined

function isPrimitive (value: unknown): value is Primitive {
  return value === null || (typeof value !== 'object' && typeof value !== 'function')
}

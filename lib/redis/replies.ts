// Replies of Redis contain arrays, numbers and buffers.

export function list (reply: unknown): readonly unknown[] {
  return Array.isArray(reply) ? reply : []
}

export function bytes (reply: unknown): Buffer {
  return Buffer.isBuffer(reply) ? reply : Buffer.from(typeof reply === 'string' ? reply : '')
}

export function text (reply: unknown): string {
  return bytes(reply).toString()
}

export function optionalText (reply: unknown): string | undefined {
  return reply === null || reply === undefined ? undefined : text(reply)
}

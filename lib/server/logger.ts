/** The part of Fastify's logger that the server uses. Fields first, and never a payload or a token in them. */
export interface Logger {
  debug (fields: object, message: string): void
  info (fields: object, message: string): void
  warn (fields: object, message: string): void
  error (fields: object, message: string): void
}

import { reservedTypes } from '../protocol/messages.js'
import { checkBody, readAppValue, serialize } from '../util/app-values.js'
import { errors } from '../util/errors.js'

/** A message of the app's own: a `type` and whatever else goes through `JSON.stringify`. */
export interface AppMessage {
  type: string
  [field: string]: unknown
}

/** Fields that the server writes into every message, or behind it. */
const SERVER_FIELDS = ['seq', 'userSeq', 'epoch', 'replayed'] as const

/** An app's own message as it goes out. The time is the server's; a session's message also says whose it is. */
export function serializeAppMessage (message: unknown, timestamp: string, sessionId?: string): string {
  const fields: Partial<AppMessage> = fieldsOf('message', message)
  const { type } = fields
  if (typeof type !== 'string' || type === '') {
    throw new errors.InvalidMessage('a message needs a string "type", such as { type: "notification", … }')
  }
  if (reservedTypes.has(type)) {
    throw new errors.InvalidMessage(`the type "${type}" is the server's own: use notifyAI… for a job, or a type of your own`)
  }
  const taken = SERVER_FIELDS.find((field) => field in fields)
  if (taken !== undefined) throw new errors.InvalidMessage(`the field "${taken}" is written by the server: give yours another name`)
  if (sessionId !== undefined && ![undefined, sessionId].includes(fields.sessionId as string | undefined)) {
    throw new errors.InvalidMessage('the message\'s own "sessionId" is another one than the session it goes to: leave it out')
  }
  return serialize({ ...fields, ...(sessionId !== undefined && { sessionId }), timestamp })
}

/** The same as a copy, because JSON holds no inherited fields: one among those would pass a check and never be sent. */
function fieldsOf (name: string, value: unknown): object {
  const body = checkBody(name, value)
  return readAppValue(() => ({ ...body }))
}

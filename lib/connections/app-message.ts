import { reservedTypes } from '../protocol/messages.js'
import { checkBody, readAppValue, serialize } from '../util/app-values.js'
import { errors } from '../util/errors.js'

/** The app's own message: a `type` and any other fields that `JSON.stringify` accepts. */
export interface AppMessage {
  type: string
  [field: string]: unknown
}

/** Fields that the server adds to messages. */
const SERVER_FIELDS = ['seq', 'userSeq', 'epoch', 'replayed'] as const

/** Returns the JSON text of the app's own message. Adds the `timestamp`, and the `sessionId` if it goes to a session. */
export function serializeAppMessage (message: unknown, timestamp: string, sessionId?: string): string {
  const fields: Partial<AppMessage> = fieldsOf('message', message)
  const { type } = fields
  if (typeof type !== 'string' || type === '') {
    throw new errors.InvalidMessage('a message needs a string "type", such as { type: "notification", … }')
  }
  if (reservedTypes.has(type)) {
    throw new errors.InvalidMessage(`the type "${type}" is reserved: use notifyAI… for a job, or choose another type`)
  }
  const taken = SERVER_FIELDS.find((field) => field in fields)
  if (taken !== undefined) throw new errors.InvalidMessage(`the field "${taken}" is reserved for the server: rename it`)
  if (sessionId !== undefined && ![undefined, sessionId].includes(fields.sessionId as string | undefined)) {
    throw new errors.InvalidMessage('the message\'s "sessionId" differs from the session that it is sent to: leave it out')
  }
  return serialize({ ...fields, ...(sessionId !== undefined && { sessionId }), timestamp })
}

/**
 * Returns a copy of the own fields. JSON omits inherited fields: an inherited `type` would pass the check and never be sent.
 */
function fieldsOf (name: string, value: unknown): object {
  const body = checkBody(name, value)
  return readAppValue(() => ({ ...body }))
}

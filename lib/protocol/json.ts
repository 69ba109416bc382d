import type { Replayed } from './messages.js'

/**
 * Assembles the JSON of messages from parts that are already JSON, without parsing or serializing them again. A body is the
 * text of a whole JSON object. Fields can be added before its final `}`. In the body of a progress, no brace follows the object
 * `progress` but this one, so the job's text can be added to that object before the last `}` but one.
 */

/** The fields that every report begins with. */
export interface ReportHead {
  readonly type: 'ai_start' | 'ai_progress' | 'ai_complete' | 'ai_error'
  readonly sessionId: string
  readonly timestamp: string
}

/** Name of the field that holds a report's object. */
export type ReportPart = 'task' | 'progress' | 'result' | 'error'

/** The fields that a piece of a job's text has in a progress, where `text` is called `delta`. */
interface TextFields {
  readonly text: string
  readonly offset: number
  readonly truncated: boolean
}

/** The fields that the broker decides. */
interface BrokerFields {
  readonly jobId?: string | undefined
  readonly supersedes?: boolean | undefined
  readonly seq?: number | undefined
}

/** Returns the body of a progress without text. `progress` is the JSON of an object. */
export function progressBody (sessionId: string, timestamp: string, progress: string): string {
  return `{"type":"ai_progress","sessionId":${JSON.stringify(sessionId)},"progress":${progress},"timestamp":"${timestamp}"}`
}

/** Returns the body of a report's short form. `fields` are from `jsonField`. */
export function shortBody ({ type, sessionId, timestamp }: ReportHead, part: ReportPart, fields: readonly string[]): string {
  return `{"type":"${type}","sessionId":${JSON.stringify(sessionId)},"${part}":{${fields.join(',')}},"timestamp":"${timestamp}","truncated":true}`
}

/** Returns a field of an object. JSON must be able to represent its value. */
export function jsonField (name: string, value: string | number | boolean | Date | null): string {
  return `${JSON.stringify(name)}:${JSON.stringify(value)}`
}

/** Returns the body of a batch. Each of its messages is JSON. */
export function batchBody (sessionId: string, messages: readonly string[], timestamp: string): string {
  return `{"type":"batch_update","sessionId":${JSON.stringify(sessionId)},"messages":[${messages.join(',')}],"timestamp":"${timestamp}"}`
}

/** Returns the body of a progress with a piece of the job's text in it. */
export function insertText (body: string, { text, offset, truncated }: TextFields): string {
  const at = body.lastIndexOf('}', body.length - 2)
  const comma = body[at - 1] === '{' ? '' : ','
  return `${body.slice(0, at)}${comma}"delta":${JSON.stringify(text)},"offset":${offset}${truncated ? ',"truncated":true' : ''}${body.slice(at)}`
}

/** Returns a body with the broker's fields, and `replayed`, at its end. The number in a user's stream is called `userSeq`. */
export function addFields (body: string, { jobId, supersedes, seq }: BrokerFields, isUser: boolean, replayed?: Replayed): string {
  if (seq === undefined && jobId === undefined && replayed === undefined) return body
  const job = jobId === undefined ? '' : `,"jobId":${JSON.stringify(jobId)}${supersedes === true ? ',"supersedes":true' : ''}`
  const number = seq === undefined ? '' : `,"${isUser ? 'userSeq' : 'seq'}":${seq}`
  return `${body.slice(0, -1)}${job}${number}${replayed === undefined ? '' : `,"replayed":"${replayed}"`}}`
}

import { arrayOf, fieldsOf, stringOf, type Fields, type StreamProtocol } from './protocol.js'
import type { FinishReasons, StreamReport } from './report.js'

const FILTERS = [
  'SAFETY', 'RECITATION', 'LANGUAGE', 'BLOCKLIST', 'PROHIBITED_CONTENT', 'SPII', 'IMAGE_SAFETY', 'IMAGE_PROHIBITED_CONTENT', 'IMAGE_RECITATION', 'ESCALATION',
  'MODEL_ARMOR'
]
/** Reasons that mean that the model's answer can't be used, or that the account may not get one. */
const ERRORS = [
  'MALFORMED_FUNCTION_CALL', 'MALFORMED_RESPONSE', 'UNEXPECTED_TOOL_CALL', 'TOO_MANY_TOOL_CALLS', 'MISSING_THOUGHT_SIGNATURE', 'NO_IMAGE',
  'PUP_LIMITED_DISABLED'
]
const REASONS: FinishReasons = {
  STOP: 'stop',
  MAX_TOKENS: 'length',
  // A further request continues the answer.
  CONTINUATION: 'pause',
  ...Object.fromEntries(FILTERS.map((reason) => [reason, 'content_filter'])),
  ...Object.fromEntries(ERRORS.map((reason) => [reason, 'error']))
}
/** Google also sends `STOP` if the model calls tools. */
const REASONS_OF_CALLS: FinishReasons = { ...REASONS, STOP: 'tool_calls' }

/**
 * Google's Gemini, from `@google/genai` or from the wire. The text is that of the first candidate. Thoughts, code, its output
 * and function calls are not text. A blocked prompt is a failure.
 * https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse
 */
export const googleGenai: StreamProtocol = {
  name: 'Google Gemini',
  recognises: ({ candidates, promptFeedback, usageMetadata }) => isObject(promptFeedback) || isObject(usageMetadata) || isCandidate(arrayOf(candidates)[0]),
  open: (report) => {
    const response = new Response(report)
    return (chunk) => Array.isArray(chunk.candidates) || googleGenai.recognises(chunk) ? response.read(chunk) : undefined
  },
  missingEnd: 'incomplete'
}

/** State of the response that is being streamed. */
class Response {
  readonly #report: StreamReport
  #id: unknown
  #hasCalls = false
  #isFinished = false

  constructor (report: StreamReport) {
    this.#report = report
  }

  read ({ responseId, candidates, promptFeedback, usageMetadata }: Fields): string {
    if (responseId !== undefined && responseId !== this.#id) this.#continue(responseId)
    if (promptFeedback !== undefined) this.#block(fieldsOf(promptFeedback))
    const candidate = firstCandidate(arrayOf(candidates))
    const text = this.#textOf(fieldsOf(candidate.content))
    if (typeof candidate.finishReason === 'string') this.#finish(candidate)
    // Each chunk contains the counts so far.
    if (this.#isFinished && usageMetadata !== undefined) this.#noteUsage(fieldsOf(usageMetadata))
    return text
  }

  /**
   * Starts the next response of the stream. If the previous one has finished, the SDK called the functions itself, and the
   * counts add up. Otherwise the SDK resumed the previous one.
   */
  #continue (id: unknown): void {
    this.#id = id
    if (!this.#isFinished) return
    this.#report.begin()
    this.#hasCalls = this.#isFinished = false
  }

  #block ({ blockReason, blockReasonMessage }: Fields): void {
    if (typeof blockReason !== 'string' || blockReason === '') return
    this.#report.fail({ message: stringOf(blockReasonMessage) || `the model's provider blocked the prompt: ${blockReason}`, type: 'content_filter' })
  }

  #textOf ({ role, parts }: Fields): string {
    // The SDK's own message to the model: the results of its functions.
    if (role === 'user') return ''
    let text = ''
    for (const part of arrayOf(parts)) {
      const fields = fieldsOf(part)
      if (fields.functionCall !== undefined) this.#hasCalls = true
      if (fields.thought !== true) text += stringOf(fields.text) || stringOf(fieldsOf(fields.audioTranscription).text)
    }
    return text
  }

  #finish ({ finishReason, finishMessage }: Fields): void {
    const type = finishReason === 'PUP_LIMITED_DISABLED' ? 'permission_error' : 'api_error'
    const message = stringOf(finishMessage) || `the model's provider ended the stream with "${String(finishReason)}"`
    this.#report.finish(finishReason, this.#hasCalls ? REASONS_OF_CALLS : REASONS, { message, type })
    this.#report.complete()
    this.#isFinished = true
  }

  #noteUsage ({ promptTokenCount, toolUsePromptTokenCount, candidatesTokenCount, thoughtsTokenCount, totalTokenCount }: Fields): void {
    this.#report.setUsage({ input: sum(promptTokenCount, toolUsePromptTokenCount), output: sum(candidatesTokenCount, thoughtsTokenCount), total: totalTokenCount })
  }
}

/** Other lists of candidates are the app's own. */
function isCandidate (value: unknown): boolean {
  const { content, finishReason } = fieldsOf(value)
  return isObject(content) || typeof finishReason === 'string'
}

function firstCandidate (candidates: readonly unknown[]): Fields {
  return fieldsOf(candidates.find((candidate) => (fieldsOf(candidate).index ?? 0) === 0))
}

function sum (...counts: readonly unknown[]): number | undefined {
  const given = counts.filter((count) => typeof count === 'number')
  return given.length === 0 ? undefined : given.reduce((sum, count) => sum + count)
}

function isObject (value: unknown): boolean {
  return fieldsOf(value) === value
}

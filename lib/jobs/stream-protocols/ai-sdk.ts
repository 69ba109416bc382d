import { fieldsOf, stringOf, type Fields, type StreamProtocol } from './protocol.js'
import type { FinishReasons, StreamReport } from './report.js'

/** Finish reasons of the AI SDK, and of libraries built on it. */
export const aiSdkReasons: FinishReasons = {
  stop: 'stop',
  length: 'length',
  'content-filter': 'content_filter',
  'tool-calls': 'tool_calls',
  error: 'error',
  // Version 7: the provider's stream ended without its last event.
  interrupted: 'incomplete',
  // Words of providers that the SDK calls `content-filter` and `other`.
  refusal: 'refusal',
  pause_turn: 'pause'
}

/** Providers' finish reasons that are more precise than the SDK's. */
const TELLING: ReadonlySet<unknown> = new Set(['refusal', 'pause_turn'])

/** Types that an app's own stream may have too. */
const COMMON: ReadonlySet<unknown> = new Set(['start', 'finish', 'abort'])

const TIMEOUT = /time(?:d )?-?out/i

/**
 * Types that identify the AI SDK's streams. Types of other streams, such as `error`, `ping`, `source`, `file` and `tool-call`,
 * are omitted, because each of them follows one of these.
 */
const TYPES: ReadonlySet<unknown> = new Set([
  'start', 'start-step', 'finish-step', 'finish', 'abort', 'stream-start', 'message-metadata', 'reset-step', 'steering-message',
  'text-start', 'text-delta', 'text-end', 'reasoning-start', 'reasoning-delta', 'reasoning-end', 'reasoning-file',
  'tool-input-start', 'tool-input-delta', 'tool-input-end', 'tool-input-available', 'tool-input-error',
  'tool-output-available', 'tool-output-error', 'tool-output-denied', 'tool-approval-request', 'tool-approval-response',
  'source-url', 'source-document',
  // Version 4.
  'step-start', 'step-finish', 'reasoning-signature', 'redacted-reasoning', 'tool-call-streaming-start'
])

/**
 * The AI SDK, versions 4 to 7: `fullStream` (the result of `streamText`), and the stream for its UI (`toUIMessageStream()`),
 * whose response has the same chunks as server-sent events. A tool's error does not fail the run, because the model handles it.
 * https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol
 */
export const aiSdk: StreamProtocol = {
  name: 'AI SDK',
  // Mastra uses the same types, with a payload.
  recognises: ({ type, payload, errorText }) => (TYPES.has(type) && payload === undefined) || (type === 'error' && typeof errorText === 'string'),
  isCommon: ({ type }) => COMMON.has(type),
  open: (report) => {
    let openParts = 0
    return (chunk) => {
      switch (chunk.type) {
        case 'text-delta': return textOf(chunk)
        case 'text-start':
        case 'start-step':
          openParts++
          report.complete(false)
          return ''
        case 'text-end':
        case 'finish-step':
          openParts--
          // A stream for the UI that the app writes by itself needs no `finish`.
          report.complete(openParts <= 0)
          return ''
        case 'finish':
          readFinish(chunk, report)
          return ''
        case 'abort':
          readAbort(chunk.reason, report)
          return ''
        case 'error':
          report.fail(chunk.error ?? chunk.errorText)
          return ''
        default: return typeof chunk.type === 'string' ? '' : undefined
      }
    }
  },
  missingEnd: 'incomplete'
}

/** `fullStream`, the stream for the UI, and version 4. */
function textOf ({ text, delta, textDelta }: Fields): string {
  if (typeof text === 'string') return text
  return typeof delta === 'string' ? delta : stringOf(textDelta)
}

function readFinish (chunk: Fields, report: StreamReport): void {
  const { finishReason, rawFinishReason, totalUsage, usage } = chunk
  report.complete()
  const word = isRefusal(chunk) ? 'refusal' : TELLING.has(rawFinishReason) ? rawFinishReason : finishReason
  report.finish(word, aiSdkReasons, undefined, rawFinishReason ?? finishReason)
  const { inputTokens, outputTokens, totalTokens, promptTokens, completionTokens } = fieldsOf(totalUsage ?? usage)
  report.setUsage({ input: inputTokens ?? promptTokens, output: outputTokens ?? completionTokens, total: totalTokens })
}

/**
 * Versions 6 and 7 call it `content-filter` when OpenAI's model refuses, and OpenAI's own word says that nothing was filtered.
 */
function isRefusal (chunk: Fields): boolean {
  if (chunk.finishReason !== 'content-filter') return false
  return chunk.rawFinishReason === 'stop' || (chunk.rawFinishReason === undefined && 'rawFinishReason' in chunk)
}

/** The reason is the message of the signal's reason, in version 7 preceded by its name. Version 5 has none. */
function readAbort (reason: unknown, report: StreamReport): void {
  if (typeof reason !== 'string' || reason === '') report.cancel()
  else report.fail({ message: reason.replace(/^\w*Error: /, ''), type: TIMEOUT.test(reason) ? 'timeout_error' : 'cancelled' })
}

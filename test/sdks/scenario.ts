import type { AIFinishReason } from '../../lib/index.js'

/** The scenarios that are tested with each SDK. A wire defines the provider's responses, and `expected` how the job must end. */
export const scenarioNames = [
  'happy', 'error-400', 'error-401', 'error-429', 'error-500', 'error-503', 'error-529', 'error-middle', 'run-failed', 'clean-cut', 'socket-cut', 'cancel',
  'refusal', 'length', 'content-filter', 'prompt-blocked', 'tool-calls', 'reasoning', 'two-choices', 'empty', 'usage-last', 'tool-loop'
] as const

export type ScenarioName = typeof scenarioNames[number]

/** A provider's response. */
export interface Wire {
  /** @default 200 */
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** Sent one by one, each in a packet of its own. */
  readonly body: readonly string[]
  /** `close`: the response is complete. `cut`: its socket is destroyed. `open`: nothing more is sent. @default close */
  readonly end?: 'close' | 'cut' | 'open'
  /** The response to the next request. @default the same response */
  readonly next?: Wire
}

export type Wires = Readonly<Partial<Record<ScenarioName, Wire | undefined>>>

/** How a job must end. Absent fields are not checked, except that an error's message must not be a JSON dump. */
export interface Expected {
  readonly status: 'complete' | 'error' | 'cancelled'
  readonly text: string
  readonly finishReason?: AIFinishReason
  readonly rawFinishReason?: string
  readonly usage?: { readonly inputTokens?: number, readonly outputTokens?: number, readonly totalTokens?: number } | undefined
  readonly type?: string
  readonly message?: string | RegExp
}

/** Returns how many requests a wire's scenario takes. */
export function requestsOf (wire: Wire): number {
  return wire.next === undefined ? 1 : 1 + requestsOf(wire.next)
}

export const TEXT = 'Héllo 👋 world'
const usage = { inputTokens: 9, outputTokens: 5, totalTokens: 14 }

/** The expectations for every SDK, unless its definition overrides them. */
export const baseline: Readonly<Record<ScenarioName, Expected>> = {
  happy: { status: 'complete', text: TEXT, finishReason: 'stop', usage },
  'error-400': { status: 'error', text: '', type: 'invalid_request_error', message: /^The prompt is too strange\.?$/ },
  'error-401': { status: 'error', text: '', type: 'authentication_error', message: /^Incorrect API key provided\.?$/ },
  'error-429': { status: 'error', text: '', type: 'rate_limit_error', message: /^Rate limit reached\.?$/ },
  'error-500': { status: 'error', text: '', type: 'api_error', message: /^The server had an error\.?$/ },
  'error-503': { status: 'error', text: '', type: 'overloaded_error', message: /^The model is overloaded\.?$/ },
  'error-529': { status: 'error', text: '', type: 'overloaded_error', message: /^Overloaded\.?$/ },
  'error-middle': { status: 'error', text: 'Héllo ', message: /The server had an error/ },
  // The terminal event reports that the model failed.
  'run-failed': { status: 'error', text: 'Héllo ', type: 'api_error', message: /^The server had an error\.?$/ },
  'clean-cut': { status: 'error', text: 'Héllo ', type: 'incomplete' },
  'socket-cut': { status: 'error', text: 'Héllo ', type: 'connection_error' },
  cancel: { status: 'cancelled', text: 'Héllo ', type: 'cancelled' },
  refusal: { status: 'complete', text: 'I can\'t help with that.', finishReason: 'refusal' },
  length: { status: 'complete', text: 'Héllo ', finishReason: 'length' },
  'content-filter': { status: 'complete', text: 'Héllo ', finishReason: 'content_filter' },
  // The provider's filter rejects the prompt, so there is no text.
  'prompt-blocked': { status: 'error', text: '', type: 'content_filter' },
  'tool-calls': { status: 'complete', text: '', finishReason: 'tool_calls' },
  reasoning: { status: 'complete', text: TEXT, finishReason: 'stop' },
  'two-choices': { status: 'complete', text: TEXT, finishReason: 'stop' },
  empty: { status: 'complete', text: '', finishReason: 'stop' },
  'usage-last': { status: 'complete', text: TEXT, finishReason: 'stop', usage },
  // The model calls a tool, and is called again with the tool's result.
  'tool-loop': { status: 'complete', text: TEXT, finishReason: 'stop', usage: { inputTokens: 18, outputTokens: 10, totalTokens: 28 } }
}

/** An SDK, and one way to read its stream. */
export interface Sdk {
  /** Also the name of its fixture. */
  readonly name: string
  /** The package and the way in which it is used, for the report. */
  readonly about: string
  /** The oldest major version of Node.js that runs it. */
  readonly node: 20 | 22
  readonly wires: Wires
  /** The scenarios in its fixture. An SDK with large chunks has only some of them. @default all */
  readonly recorded?: readonly ScenarioName[]
  /** Differences from the baseline, with a comment that explains them. */
  readonly expected?: Partial<Record<ScenarioName, Expected>>
  /**
   * Sends a request to the provider at `url` (without a path), and returns a source for `runAI`. Imports the SDK when it is called.
   * Retries are off.
   */
  open (provider: { readonly url: string, readonly signal: AbortSignal, readonly scenario: ScenarioName }): unknown
}

/** Returns a wire with other ids, for a further response in the same conversation. */
export function further (wire: Wire): Wire {
  return { ...wire, body: wire.body.map((part) => part.replaceAll(/(chatcmpl|resp|msg)(-|_)\d/g, '$1$29')) }
}

/** Returns the data as server-sent events. */
export function events (...data: readonly unknown[]): string[] {
  return data.map((each) => `data: ${typeof each === 'string' ? each : JSON.stringify(each)}\n\n`)
}

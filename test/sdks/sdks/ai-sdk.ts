import { baseline, TEXT, type ScenarioName, type Sdk, type Wires } from '../scenario.js'
import { openaiChat } from '../wires/openai-chat.js'

/** The part of the AI SDK that is used here. The SDK's own types differ between the versions. */
interface AiSdk {
  streamText (options: object): Result
}

interface Result {
  readonly fullStream: unknown
  readonly stream?: unknown
  readonly textStream: unknown
  toUIMessageStream (options?: object): unknown
  toUIMessageStreamResponse (options?: object): Response
}

interface AiSdkOpenAI {
  createOpenAI (options: object): { chat (model: string): unknown }
}

const modules = {
  5: async () => [await import('ai-5'), await import('ai-sdk-openai-5')],
  6: async () => [await import('ai-6'), await import('ai-sdk-openai-6')],
  7: async () => [await import('ai-7'), await import('ai-sdk-openai-7')]
}
type Version = keyof typeof modules

/** The SDK never requests two choices, and would mix them. */
const { 'two-choices': _, ...others } = openaiChat
const wires: Wires = others
type Expectations = NonNullable<Sdk['expected']>

/** How each version differs from the baseline. */
const differences: Readonly<Record<Version, Expectations>> = {
  5: {
    // The SDK hides the refusal, and reports an unknown reason if the end is missing.
    refusal: { status: 'complete', text: '', finishReason: 'stop' },
    'clean-cut': { status: 'complete', text: 'Héllo ', finishReason: 'unknown' }
  },
  // The SDK reports the reason "other", without a reason of the provider.
  6: { 'clean-cut': { status: 'complete', text: 'Héllo ', finishReason: 'unknown' } },
  7: {}
}

const masked = { status: 'error', text: '', type: 'internal_error', message: 'An error occurred.' } as const
/** The UI stream hides error messages unless `onError` returns them. It has neither the usage nor the provider's finish reason. */
const ofUi: Expectations = {
  happy: { ...baseline.happy, usage: undefined },
  'usage-last': { ...baseline['usage-last'], usage: undefined },
  'error-400': masked,
  'error-401': masked,
  'error-429': masked,
  'error-500': masked,
  'error-503': masked,
  'error-529': masked,
  'error-middle': { ...masked, text: 'Héllo ' },
  refusal: { ...baseline.refusal, finishReason: 'content_filter' }
}

const hidden = { status: 'complete', text: '' } as const
/** `textStream` hides failures and the finish reason. If it is empty, a hint is logged. */
const ofText: Expectations = {
  happy: { status: 'complete', text: TEXT },
  refusal: { status: 'complete', text: baseline.refusal.text },
  'error-429': hidden,
  'error-middle': { ...hidden, text: 'Héllo ' },
  'clean-cut': { ...hidden, text: 'Héllo ' }
}

function only (...names: readonly ScenarioName[]): Wires {
  return Object.fromEntries(names.map((name) => [name, wires[name]]))
}

interface Way {
  readonly about: string
  readonly read: (result: Result) => unknown
  readonly expected?: Expectations
  readonly wires?: Wires
}

/** Ways to read the result of `streamText`, by the suffix of their fixtures' names. */
const ways: Readonly<Record<string, Way>> = {
  '': { about: 'the result of streamText', read: (result) => result },
  '-full': { about: 'fullStream', read: (result) => result.fullStream, wires: only('happy', 'error-429', 'error-middle', 'socket-cut', 'cancel') },
  '-text': {
    about: 'textStream',
    read: (result) => result.textStream,
    expected: ofText,
    wires: only('happy', 'error-429', 'error-middle', 'clean-cut', 'socket-cut', 'cancel', 'refusal')
  },
  '-ui': { about: 'toUIMessageStream()', read: (result) => result.toUIMessageStream(), expected: ofUi },
  '-response': { about: 'toUIMessageStreamResponse().body', read: (result) => result.toUIMessageStreamResponse().body, expected: ofUi }
}

function aiSdk (version: Version, [suffix, way]: readonly [suffix: string, way: Way]): Sdk {
  const refusal = suffix === '-text' ? { status: 'complete', text: '' } as const : differences[5].refusal!
  return {
    name: `ai-${version}${suffix}`,
    about: `AI SDK ${version}, ${way.about}`,
    node: version === 7 ? 22 : 20,
    wires: way.wires ?? wires,
    expected: { ...(suffix !== '-text' && differences[version]), ...way.expected, ...(version === 5 && { refusal }) },
    open: async ({ url, signal }) => {
      const [ai, provider] = await modules[version]() as unknown as [AiSdk, AiSdkOpenAI]
      const openai = provider.createOpenAI({ apiKey: 'test', baseURL: `${url}/v1` })
      return way.read(ai.streamText({
        model: openai.chat('gpt-5-mini'),
        prompt: 'Hello',
        maxRetries: 0,
        abortSignal: signal,
        // The default handler writes to the console.
        onError: () => undefined
      }))
    }
  }
}

export const aiSdk5: readonly Sdk[] = Object.entries(ways).map((way) => aiSdk(5, way))
export const aiSdk6: readonly Sdk[] = Object.entries(ways).map((way) => aiSdk(6, way))
/** Version 7 has `stream` in addition to `fullStream`. */
export const aiSdk7: readonly Sdk[] = Object.entries({ ...ways, '-stream': { ...ways['-full']!, about: 'stream', read: ({ stream }: Result) => stream } })
  .map((way) => aiSdk(7, way))

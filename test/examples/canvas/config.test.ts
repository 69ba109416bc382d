import t from 'tap'
import { openAIConfig } from '../../../examples/canvas/config/openai.js'
import { serverConfig } from '../../../examples/canvas/config/server.js'

t.test('by default the server listens on localhost:3001', async (t) => {
  t.same(serverConfig({}), { host: 'localhost', port: 3001, logLevel: 'warn', origins: [], documentSeconds: 15 })
  t.same(
    serverConfig({ HOST: '0.0.0.0', PORT: '0', LOG_LEVEL: 'debug', DOCUMENT_SECONDS: '0', ORIGINS: 'http://localhost:5173, https://example.org,' }),
    { host: '0.0.0.0', port: 0, logLevel: 'debug', documentSeconds: 0, origins: ['http://localhost:5173', 'https://example.org'] }
  )
})

t.test('an invalid port is refused with an error that names it', async (t) => {
  for (const PORT of ['', ' ', 'http', '-1', '65536', '80.5']) t.throws(() => serverConfig({ PORT }), { message: /^PORT is not a port: set it to a number/ }, PORT)
})

t.test('an invalid duration is refused with an error that names it', async (t) => {
  for (const DOCUMENT_SECONDS of ['', 'long', '-1', '1000']) t.throws(() => serverConfig({ DOCUMENT_SECONDS }), { message: /^DOCUMENT_SECONDS is not a duration: set it to a number/ }, DOCUMENT_SECONDS)
})

t.test('without settings there is no language model', async (t) => {
  t.equal(openAIConfig({}), undefined)
  t.equal(openAIConfig({ OPENAI_MODEL: 'm', OPENAI_API_KEY: '' }), undefined)
})

t.test('a base URL alone is enough for a service without keys', async (t) => {
  t.same(openAIConfig({ OPENAI_BASE_URL: 'http://localhost:11434/v1', OPENAI_MODEL: 'm' }), { baseURL: 'http://localhost:11434/v1', apiKey: 'none', model: 'm' })
  t.same(openAIConfig({ OPENAI_API_KEY: 'key', OPENAI_MODEL: 'm' }), { apiKey: 'key', model: 'm' })
})

t.test('incomplete settings are refused at start, with what is missing', async (t) => {
  t.throws(() => openAIConfig({ OPENAI_API_KEY: 'key' }), { message: /OPENAI_MODEL is not set/ })
  t.throws(() => openAIConfig({ OPENAI_BASE_URL: 'localhost', OPENAI_MODEL: 'm' }), { message: /OPENAI_BASE_URL is not a URL/ })
})

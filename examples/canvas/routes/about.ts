import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { MODEL_VARIABLES } from '../agents/choose.js'

const About = Type.Object({
  model: Type.Union([Type.String(), Type.Null()], { description: 'The language model. Without one only the mode `document` is available.' }),
  modelVariables: Type.String({ description: 'The environment variables that give the server a language model.' }),
  documentSeconds: Type.Number({ description: 'About how long the text of a document job takes.' }),
  killCommand: Type.String({ description: 'Ends the server as a crash does.' })
})

export interface AboutRoutesOptions {
  model: string | undefined
  documentSeconds: number
}

/** What the page must know of its server. */
export const aboutRoutes: FastifyPluginCallbackTypebox<AboutRoutesOptions> = (app, { model = null, documentSeconds }, done) => {
  const killCommand = process.platform === 'win32' ? `taskkill /F /PID ${process.pid}` : `kill -9 ${process.pid}`
  app.get('/api/about', { logLevel: 'warn', schema: { response: { 200: About } } }, () => (
    { model, modelVariables: MODEL_VARIABLES, documentSeconds, killCommand }
  ))
  done()
}

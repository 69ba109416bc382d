import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { MODEL_VARIABLES } from '../agents/choose.js'

const About = Type.Object({
  model: Type.Union([Type.String(), Type.Null()], { description: 'The language model. Without one only the mode `document` is available.' }),
  modelVariables: Type.String({ description: 'The environment variables that give the server a language model.' }),
  documentSeconds: Type.Number({ description: 'The approximate duration of a document job, in seconds.' })
})

export interface AboutRoutesOptions {
  model: string | undefined
  documentSeconds: number
}

/** The information that the page needs about its server. */
export const aboutRoutes: FastifyPluginCallbackTypebox<AboutRoutesOptions> = (app, { model = null, documentSeconds }, done) => {
  app.get('/api/about', { logLevel: 'warn', schema: { response: { 200: About } } }, () => (
    { model, modelVariables: MODEL_VARIABLES, documentSeconds }
  ))
  done()
}

import createError from '@fastify/error'
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { Id } from 'ai-canvas-ws/protocol'
import type { FastifyError, FastifySchemaValidationError } from 'fastify'
import { AgentError, type Agent, type AgentTask } from '../agents/agent.js'
import type { ChooseAgent } from '../agents/choose.js'
import { Result } from '../results.js'

const EXAMPLE = '{"sessionId":"my_session","mode":"document","targetFile":"lib/index.ts"}'

const Task = Type.Object({
  sessionId: Id,
  mode: Type.String({ minLength: 1, maxLength: 64, default: 'generate' }),
  prompt: Type.Optional(Type.String({ minLength: 1, maxLength: 32_768 })),
  targetFile: Type.Optional(Type.String({ minLength: 1, maxLength: 1024 }))
})

const Answer = Type.Object({
  sessionId: Type.String(),
  task: Type.Object({ mode: Type.String(), prompt: Type.Optional(Type.String()), targetFile: Type.Optional(Type.String()) }),
  resultUrl: Type.String({ description: 'The URL of the text. It is complete after `ai_complete`.' })
})

const BadRequest = createError('CANVAS_ERR_BAD_REQUEST', '%s', 400)
const NotConfigured = createError('CANVAS_ERR_NOT_CONFIGURED', '%s', 501)
const NoResult = createError('CANVAS_ERR_NO_RESULT',
  'session "%s" has no result: POST a task to /api/agent/generate. An older result may have been dropped', 404)

/** A task that was checked, and the agent for it. */
interface Accepted {
  sessionId: string
  task: AgentTask
  agent: Agent
}

export interface GenerateRoutesOptions {
  chooseAgent: ChooseAgent
  /** Starts a job, or makes sure that it is started. */
  accept: (accepted: Accepted) => void | Promise<void>
  /** Returns the result of a session's latest job. */
  findResult: (sessionId: string) => Result | undefined | Promise<Result | undefined>
}

/**
 * If the request alone is invalid, the response is an HTTP error and no job starts, because only the sender can fix it. Errors
 * during the work reach the session as `ai_error`.
 */
export const generateRoutes: FastifyPluginCallbackTypebox<GenerateRoutesOptions> = (app, options, done) => {
  const { chooseAgent, accept, findResult } = options

  // fetch() with a string as its body, as in the platform's documentation, sends text/plain.
  app.addContentTypeParser('text/plain', { parseAs: 'string' }, app.getDefaultJsonParser('error', 'error'))
  app.setSchemaErrorFormatter((errors, where) => new BadRequest(
    `${describe(errors)}. ${where === 'body' ? `A task looks like ${EXAMPLE}` : 'Name the session in the query, such as ?sessionId=my_session'}`
  ))
  app.setErrorHandler<FastifyError>((error, _request, reply) => {
    if (error.code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') error.message += `. Send the task as content-type: application/json, such as ${EXAMPLE}`
    return reply.send(error)
  })

  app.post('/api/agent/generate', {
    schema: { body: Task, response: { 202: Answer } }
  }, async ({ body: { sessionId, mode, prompt, targetFile } }, reply) => {
    const task: AgentTask = { mode, ...prompt !== undefined && { prompt }, ...targetFile !== undefined && { targetFile } }
    await accept({ sessionId, task, agent: choose(chooseAgent, task) })
    const resultUrl = `/api/agent/result?${new URLSearchParams({ sessionId }).toString()}`
    return reply.code(202).header('location', resultUrl).send({ sessionId, task, resultUrl })
  })

  app.get('/api/agent/result', {
    schema: { querystring: Type.Object({ sessionId: Id }), response: { 200: Result } }
  }, async ({ query: { sessionId } }) => {
    const result = await findResult(sessionId)
    if (result === undefined) throw new NoResult(sessionId)
    return result
  })
  done()
}

function choose (chooseAgent: ChooseAgent, task: AgentTask): Agent {
  try {
    return chooseAgent(task)
  } catch (error) {
    if (!(error instanceof AgentError)) throw error
    throw error.type === 'not_configured' ? new NotConfigured(error.message) : new BadRequest(error.message)
  }
}

function describe (errors: FastifySchemaValidationError[]): string {
  return errors.map(({ instancePath, message = 'is not valid' }) => `${instancePath.slice(1)} ${message}`.trim()).join(', ')
}

import createError from '@fastify/error'

/** All errors that the package throws or rejects with. Each message says how to fix the problem. */
export const errors = {
  AlreadyRegistered: createError('AICW_ERR_ALREADY_REGISTERED',
    'ai-canvas-ws is already registered on this server: register it once, on the root instance, and use app.wsManager everywhere', 500),
  InvalidOption: createError('AICW_ERR_INVALID_OPTION',
    'option "%s" %s', 500),
  AuthorizeMissing: createError('AICW_ERR_AUTHORIZE_MISSING',
    'option "authenticate" needs "authorize" beside it: give a function (identity, action) => boolean, or true to let every authenticated client subscribe to everything', 500),
  NoManager: createError('AICW_ERR_NO_MANAGER',
    'there is no WebSocketManager yet: await app.register(aiCanvasWs) before getWebSocketManager(), or use app.wsManager', 500),
  ManyManagers: createError('AICW_ERR_MANY_MANAGERS',
    '%s apps with ai-canvas-ws are open in this process, so getWebSocketManager() can\'t choose one: use app.wsManager (or request.server.wsManager)', 500),
  InvalidId: createError('AICW_ERR_INVALID_ID',
    '%s must be a string of 1 to 256 characters without control characters', 400, TypeError),
  InvalidMessage: createError('AICW_ERR_INVALID_MESSAGE',
    '%s', 400, TypeError),
  NotSerializable: createError('AICW_ERR_NOT_SERIALIZABLE',
    'the message can\'t be written as JSON (%s): pass plain data, and convert BigInt values and cycles first; nothing was sent', 400, TypeError),
  KeyReused: createError('AICW_ERR_KEY_REUSED',
    'another request has used this Idempotency-Key: give each request a key of its own, and repeat it unchanged', 422),
  Unavailable: createError('AICW_ERR_UNAVAILABLE',
    'the broker has not confirmed the message, so it may have been published or not: repeat the request with the same Idempotency-Key', 503),
  Stalled: createError('AICW_ERR_STALLED',
    'the job has stalled: its stream was not read for longer than jobs.stallAfterMs, so its source was closed; read it sooner, or raise that option', 500),
  BrokerAnswer: createError('AICW_ERR_BROKER_ANSWER',
    'the broker\'s %s violates the Broker contract: %s', 500),
  PublisherClosed: createError('AICW_ERR_PUBLISHER_CLOSED',
    'this publisher is closed: close it after its last use, or create a new one with createPublisher()', 500),
  BatcherClosed: createError('AICW_ERR_BATCHER_CLOSED',
    'this batcher is closed: create a new one with wsManager.createBatcher(sessionId)', 500)
} as const

import { aiCanvasWs } from './plugin.js'

export default aiCanvasWs
export { aiCanvasWs }
export { getWebSocketManager } from './manager/registry.js'
export { defaults, type AiCanvasWsOptions, type Delivery, type History, type Jobs, type Limits, type WebSocketOptions } from './options.js'
export { redactedRequest } from './fastify/request-log.js'
export type { Authenticate } from './fastify/admission.js'
export type { StatsRouteOptions } from './fastify/stats-route.js'
export type { Authorize } from './connections/subscriptions.js'
export type { Batcher, BatcherOptions } from './manager/batcher.js'
export type { Client } from './connections/client-view.js'
export type { Action, Identity } from './connections/identity.js'
export type { OnMessage, UnknownMessage } from './connections/inbound.js'
export type { AIJob } from './manager/ai-job.js'
export type { AICompletion, AIFailure, AIOutcome } from './manager/ai-run.js'
export type { OnCancel } from './connections/cancellations.js'
export type { BroadcastOptions, JobOptions, WebSocketManager } from './manager/manager.js'
export type { Receipt } from './manager/notifier.js'
export type { AISource, TrackableSource } from './jobs/track-source.js'
export type { TrackOptions } from './jobs/track.js'
export type { DropReason } from './streams/session-jobs.js'
export type { AppMessage } from './connections/app-message.js'
export type { ClientStats, Metrics, Stats, StatsFilter } from './manager/stats.js'
export type {
  Broker, BrokerNode, ControlMessage, Evicted, Joined, Position, Publication, Published, PublishOptions, Stream, Stub, TextSpan, RecoveryFailure
} from './streams/broker.js'
export type { AIFinishReason } from './protocol/codes.js'
export type { AIErrorInfo, AIProgress, AIResult, AITask, AIUsage } from './protocol/messages.js'

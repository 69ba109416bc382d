import { aiCanvasWs } from './plugin.js'

export default aiCanvasWs
export { aiCanvasWs }
export { getWebSocketManager } from './registry.js'
export { defaults, type AiCanvasWsOptions, type Delivery, type History, type Jobs, type Limits, type WebSocketOptions } from './options.js'
export { redactedRequest } from './routes/request-log.js'
export type { Authenticate } from './routes/admission.js'
export type { StatsRouteOptions } from './routes/stats.js'
export type { Authorize } from './server/follows.js'
export type { Batcher, BatcherOptions } from './server/batcher.js'
export type { Client } from './server/client.js'
export type { Action, Identity } from './server/identity.js'
export type { OnMessage, UnknownMessage } from './server/inbound.js'
export type { AIJob } from './server/ai-job.js'
export type { AICompletion, AIFailure, AIOutcome } from './server/ai-run.js'
export type { OnCancel } from './server/cancellations.js'
export type { BroadcastOptions, JobOptions, WebSocketManager } from './server/manager.js'
export type { Receipt } from './server/notifier.js'
export type { AISource, TrackableSource } from './jobs/track-source.js'
export type { TrackOptions } from './jobs/track.js'
export type { DropReason } from './jobs/job.js'
export type { AppMessage } from './server/messages.js'
export type { ClientStats, Metrics, Stats, StatsFilter } from './server/stats.js'
export type {
  Broker, BrokerNode, ControlMessage, Evicted, Joined, Position, Publication, Published, PublishOptions, Stream, Stub, TextSpan, Unrecovered
} from './broker/broker.js'
export type { AIFinishReason } from './protocol/codes.js'
export type { AIErrorInfo, AIProgress, AIResult, AITask, AIUsage } from './protocol/messages.js'

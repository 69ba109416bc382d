'use client'

/** React hooks for the client. They support React 18 and 19. */
export { useWebSocket, type UseWebSocket, type UseWebSocketOptions } from './use-websocket.js'
export { useAIWebSocket, type UseAIWebSocket } from './use-ai-websocket.js'
export { AICanvasProvider, type AICanvasProviderProps } from './provider.js'
export type { HookOptions, Message } from './attachment.js'
export type { ConnectionOptions } from './shared-client.js'

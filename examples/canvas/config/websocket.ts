export { getWebSocketManager } from 'ai-canvas-ws'

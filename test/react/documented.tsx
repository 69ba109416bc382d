// The React examples of the platform's documentation, verbatim except for the path of the import. A test compares them with the
// documentation and runs them.
import { useEffect } from 'react';
import { useAIWebSocket, useWebSocket } from 'ai-canvas-ws/react';

/* eslint-disable */

function MyComponent() {
  const { isConnected, send, lastMessage } = useWebSocket({
    sessionId: 'my_session',
    onMessage: (message) => {
      console.log('Received:', message);
    }
  });

  return (
    <div>
      <p>Status: {isConnected ? 'Connected' : 'Disconnected'}</p>
      <button onClick={() => send({ type: 'ping' })}>
        Ping Server
      </button>
    </div>
  );
}

function AIComponent() {
  const {
    isConnected,
    aiStatus,
    aiProgress,
    aiResult,
    aiError,
    subscribe,
  } = useAIWebSocket('my_session');

  useEffect(() => {
    if (aiStatus === 'complete') {
      console.log('AI completed:', aiResult);
      // Handle completion
    }
  }, [aiStatus, aiResult]);

  return (
    <div>
      <p>Connection: {isConnected ? '✓' : '✗'}</p>
      <p>AI Status: {aiStatus}</p>

      {aiProgress && (
        <p>Progress: {aiProgress.chunksReceived} chunks</p>
      )}

      {aiResult && (
        <div>Result: {JSON.stringify(aiResult)}</div>
      )}

      {aiError && (
        <div className="error">{aiError.message}</div>
      )}
    </div>
  );
}

function Reconnecting() {
const ws = useWebSocket({
  reconnect: true,
  reconnectInterval: 3000,
  maxReconnectAttempts: 10
});

  return <p>{String(ws.isConnected)}</p>;
}

function Debugging() {
const ws = useWebSocket({
  sessionId: 'my_session',
  onOpen: () => console.log('[WS] Connected'),
  onClose: () => console.log('[WS] Disconnected'),
  onError: (error) => console.error('[WS] Error:', error),
  onMessage: (msg) => console.log('[WS] Message:', msg)
});

  return <p>{String(ws.isConnected)}</p>;
}

function Summary({ sessionId }: { sessionId: string }) {
// Frontend
const { aiStatus, aiResult } = useAIWebSocket(sessionId);

  return <p>{aiStatus} {String(aiResult?.chunks)}</p>;
}

export { AIComponent, Debugging, MyComponent, Reconnecting, Summary };

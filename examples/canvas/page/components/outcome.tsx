import type { AIErrorInfo, AIResult } from 'ai-canvas-ws/client'
import type { ReactElement } from 'react'

/** How the job ended: what it brought, or what went wrong. */
export function Outcome ({ sessionId, result, error }: { sessionId: string, result: AIResult | undefined, error: AIErrorInfo | undefined }): ReactElement {
  return (
    <>
      <div role="alert">
        {error?.type === 'cancelled' && <p className="notice">Somebody who follows this session stopped the job.</p>}
        {error !== undefined && error.type !== 'cancelled' && (
          <p className="notice failure"><strong>Error</strong> {error.message} <code className="quiet">{error.type}</code></p>
        )}
      </div>
      {result !== undefined && (
        <dl className="result">
          {result.mode !== undefined && <div><dt>Mode</dt><dd>{result.mode}</dd></div>}
          {result.targetFile !== undefined && <div><dt>File</dt><dd><code>{result.targetFile}</code></dd></div>}
          <div><dt>Characters</dt><dd>{result.contentLength?.toLocaleString()}</dd></div>
          <div><dt>Chunks</dt><dd>{result.chunks?.toLocaleString()}</dd></div>
          <div><dt>Result</dt><dd><a href={`/api/agent/result?${new URLSearchParams({ sessionId }).toString()}`} target="_blank" rel="noreferrer">as JSON</a></dd></div>
        </dl>
      )}
    </>
  )
}

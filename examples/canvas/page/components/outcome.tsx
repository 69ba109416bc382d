import type { AIErrorInfo, AIResult } from 'ai-canvas-ws/client'
import { useState, type ReactElement } from 'react'

const LOST = 'The server restarted and lost this job. Start it again.'
const CLOSING = 'The server was stopped in the middle of this job. Start it again.'

/** Shows how the job ended: the text's actions, or the error. */
export function Outcome ({ text, result, error, isOwnStop }: {
  text: string
  result: AIResult | undefined
  error: AIErrorInfo | undefined
  isOwnStop: boolean
}): ReactElement {
  return (
    <>
      <div role="alert">{error !== undefined && <p className={error.type === 'cancelled' ? 'notice' : 'notice failure'}>{sentence(error, isOwnStop)}</p>}</div>
      {result !== undefined && <Done text={text} file={result.targetFile} />}
    </>
  )
}

function sentence ({ type, message }: AIErrorInfo, isOwnStop: boolean): string {
  switch (type) {
    case 'cancelled':
      return isOwnStop ? 'You stopped this job.' : 'Another user stopped this job.'
    case 'lost':
      return LOST
    case 'server_closing':
      return CLOSING
    default:
      return `${message.charAt(0).toUpperCase()}${message.slice(1)}${/[.!?]$/.test(message) ? '' : '.'}`
  }
}

function Done ({ text, file }: { text: string, file: string | undefined }): ReactElement {
  const [copied, setCopied] = useState('')
  // Available only over https and on localhost.
  const clipboard = navigator.clipboard as Clipboard | undefined
  return (
    <p className="result">
      <span>{file === undefined ? 'The text is complete.' : <>Documentation of <code>{file}</code></>}</span>
      {clipboard !== undefined && (
        <button type="button" className="tiny" onClick={() => { void clipboard.writeText(text).then(() => { setCopied(text) }, () => undefined) }}>
          {copied === text ? 'Copied' : 'Copy as Markdown'}
        </button>
      )}
    </p>
  )
}

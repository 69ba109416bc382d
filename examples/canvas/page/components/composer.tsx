import { useAIWebSocket } from 'ai-canvas-ws/react'
import { useId, useState, type KeyboardEvent, type SubmitEvent, type ReactElement } from 'react'
import { useAbout } from '../about.js'
import { generate, type Task } from '../generate.js'

const JOBS = [
  { mode: 'document', label: 'Document a file' },
  { mode: 'generate', label: 'Write' },
  { mode: 'explain', label: 'Explain' }
] as const

type Mode = typeof JOBS[number]['mode']

const PROMPTS: Readonly<Record<Mode, string>> = { document: '', generate: '', explain: 'Explain what this file does.' }

/** Why a stop request failed, by the server's error code. */
const STOP_REFUSALS: Readonly<Record<string, string>> = {
  not_cancellable: 'This job can\'t be stopped any more.',
  forbidden: 'You may not stop this job.',
  unavailable: 'The server could not stop the job just now. Try again.'
}

/** The state of the latest stop request. It matters only while that job runs. */
interface Stop { jobId: string, refusal?: string }

/** The form that starts and stops a job. */
export function Composer ({ sessionId, onStopping }: { sessionId: string, onStopping: (jobId: string) => void }): ReactElement {
  const [mode, setMode] = useState<Mode>('document')
  const [prompt, setPrompt] = useState('')
  const [targetFile, setTargetFile] = useState('lib/manager/manager.ts')
  const [isAsking, setIsAsking] = useState(false)
  const [refusal, setRefusal] = useState<string>()
  const [latestStop, setLatestStop] = useState<Stop>()
  const { aiStatus, job, cancel, isConnected } = useAIWebSocket(sessionId, {
    // The server may not have received the previous stop request, so allow another one.
    onOpen () { setLatestStop(undefined) },
    // An error with a job id is the reply to a stop request. The panels show errors of the connection.
    onError ({ code, message, jobId }) { if (jobId !== undefined) setLatestStop({ jobId, refusal: STOP_REFUSALS[code] ?? message }) }
  })
  const about = useAbout(isConnected)
  const id = useId()
  const hasModel = typeof about?.model === 'string'
  const isRunning = aiStatus === 'processing'
  const stop = isRunning && latestStop?.jobId === job?.jobId ? latestStop : undefined
  const isStopping = stop !== undefined && stop.refusal === undefined
  const notice = refusal ?? stop?.refusal

  async function start (): Promise<void> {
    const task: Task = {
      mode,
      ...mode !== 'document' && { prompt },
      ...mode !== 'generate' && targetFile.trim() !== '' && { targetFile: targetFile.trim() }
    }
    setRefusal(undefined)
    setIsAsking(true)
    try {
      await generate(sessionId, task)
    } catch (error) {
      setRefusal((error as Error).message)
    } finally {
      setIsAsking(false)
    }
  }

  function onStop (): void {
    if (job === undefined || !isRunning || isStopping) return
    setRefusal(undefined)
    setLatestStop({ jobId: job.jobId })
    onStopping(job.jobId)
    cancel(job.jobId)
  }

  function onSubmit (event: SubmitEvent): void {
    event.preventDefault()
    if (!isRunning && !isAsking) void start()
  }

  function onKeyDown ({ key, ctrlKey, metaKey, currentTarget }: KeyboardEvent<HTMLFormElement>): void {
    if (key === 'Enter' && (ctrlKey || metaKey)) currentTarget.requestSubmit()
  }

  function choose (next: Mode): void {
    setMode(next)
    setPrompt(PROMPTS[next])
  }

  return (
    <form className="card composer" onSubmit={onSubmit} onKeyDown={onKeyDown} aria-labelledby={`${id}-title`}>
      <h2 id={`${id}-title`}>A job</h2>
      <fieldset className="modes" aria-describedby={`${id}-hint`}>
        <legend className="unseen">What to do</legend>
        {JOBS.map((each) => (
          <label key={each.mode}>
            <input
              type="radio" name="mode" value={each.mode} checked={mode === each.mode} disabled={each.mode !== 'document' && !hasModel}
              onChange={() => { choose(each.mode) }}
            />
            <span>{each.label}</span>
          </label>
        ))}
      </fieldset>
      <p className="hint" id={`${id}-hint`}>
        {mode === 'document' && `The TypeScript compiler writes it, at a language model's pace${duration(about?.documentSeconds)}.`}
        {mode !== 'document' && typeof about?.model === 'string' && <>Written by <code>{about.model}</code>.</>}
        {about?.model === null && <> <em>Write</em> and <em>Explain</em> need a model: start the server with {variables(about.modelVariables)}.</>}
      </p>

      {mode !== 'generate' && (
        <div className="field">
          <label htmlFor={`${id}-file`}>File</label>
          <input
            id={`${id}-file`} name="targetFile" value={targetFile} list={`${id}-files`} spellCheck={false} autoCapitalize="off" autoComplete="off"
            required placeholder="lib/index.ts" onChange={({ target }) => { setTargetFile(target.value) }}
          />
          <datalist id={`${id}-files`}>
            {['lib/manager/manager.ts', 'lib/protocol/messages.ts', 'lib/streams/broker.ts', 'lib/client/client.ts', 'lib/index.ts'].map((file) => (
              <option key={file} value={file} />
            ))}
          </datalist>
        </div>
      )}
      {mode !== 'document' && (
        <div className="field">
          <label htmlFor={`${id}-prompt`}>Prompt</label>
          <textarea
            id={`${id}-prompt`} name="prompt" value={prompt} rows={3} required placeholder="Create a React component"
            onChange={({ target }) => { setPrompt(target.value) }}
          />
        </div>
      )}

      {/* Always rendered: screen readers may ignore a live region that is inserted together with its text */}
      <div role="alert">{notice !== undefined && <p className="notice failure">{notice}</p>}</div>
      {/* aria-disabled instead of disabled, so that the button keeps the focus */}
      <div className="actions">
        <button type="submit" className="primary" aria-disabled={isRunning || isAsking} aria-keyshortcuts="Control+Enter" title="Ctrl+Enter">
          {isRunning ? 'Running…' : 'Start'}
        </button>
        <button type="button" className="stop" aria-disabled={!isRunning || isStopping} onClick={onStop}>{isStopping ? 'Stopping…' : 'Stop'}</button>
      </div>
    </form>
  )
}

function duration (seconds = 0): string {
  return seconds > 0 ? ` (${seconds} s)` : ''
}

/** Renders the names of variables in a sentence as code. */
function variables (sentence: string): ReactElement[] {
  return sentence.split(/\b([A-Z]+(?:_[A-Z]+)+)\b/).map((part, index) => index % 2 === 1 ? <code key={index}>{part}</code> : <span key={index}>{part}</span>)
}

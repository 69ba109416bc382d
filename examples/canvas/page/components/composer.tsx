import { useAIWebSocket } from 'ai-canvas-ws/react'
import { useId, useState, type SubmitEvent, type ReactElement } from 'react'
import { generate, type Task } from '../generate.js'

const MODES = [
  { mode: 'document', label: 'document', says: 'Writes about what a TypeScript file of this project exports. Needs no language model.' },
  { mode: 'generate', label: 'generate', says: 'A language model writes what you ask for, if the server has one.' },
  { mode: 'explain', label: 'explain', says: 'A language model explains the file, if the server has one.' }
] as const

/** Why a job goes on that was to be stopped, by the server's code. */
const STOP_REFUSALS: Readonly<Record<string, string>> = {
  not_cancellable: 'This job can\'t be stopped: nobody listens for that, or it is about to end.',
  forbidden: 'You may not stop this job.',
  unavailable: 'The server could not stop the job just now. Try again.'
}

/** What came of pressing "Stop". Of interest only while that job runs. */
interface Stop { jobId: string, refusal?: string }

/** Where a job is asked for, and stopped. */
export function Composer ({ sessionId }: { sessionId: string }): ReactElement {
  const [mode, setMode] = useState<string>('document')
  const [prompt, setPrompt] = useState('')
  const [targetFile, setTargetFile] = useState('lib/server/manager.ts')
  const [isAsking, setIsAsking] = useState(false)
  const [refusal, setRefusal] = useState<string>()
  const [latestStop, setLatestStop] = useState<Stop>()
  const { aiStatus, job, cancel } = useAIWebSocket(sessionId, {
    // Whether the stop before it arrived nobody knows: it may be pressed again
    onOpen () { setLatestStop(undefined) },
    // What is about a job answers a stop; how the connection is the panels tell
    onError ({ code, message, jobId }) { if (jobId !== undefined) setLatestStop({ jobId, refusal: STOP_REFUSALS[code] ?? message }) }
  })
  const id = useId()
  const isRunning = aiStatus === 'processing'
  const stop = isRunning && latestStop?.jobId === job?.jobId ? latestStop : undefined
  const isStopping = stop !== undefined && stop.refusal === undefined
  const notice = refusal ?? stop?.refusal

  async function start (): Promise<void> {
    const task: Task = { mode, ...prompt.trim() !== '' && { prompt }, ...targetFile.trim() !== '' && { targetFile: targetFile.trim() } }
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
    try {
      cancel(job.jobId)
    } catch {
      setLatestStop({ jobId: job.jobId, refusal: 'There is no connection through which the job could be stopped.' })
    }
  }

  function onSubmit (event: SubmitEvent): void {
    event.preventDefault()
    if (!isRunning && !isAsking) void start()
  }

  return (
    <form className="card composer" onSubmit={onSubmit} aria-labelledby={`${id}-title`}>
      <h2 id={`${id}-title`}>A job</h2>
      <div className="fields">
        <fieldset className="modes" aria-describedby={`${id}-mode`}>
          <legend>Mode</legend>
          {MODES.map((each) => (
            <label key={each.mode}>
              <input type="radio" name="mode" value={each.mode} checked={mode === each.mode} onChange={() => { setMode(each.mode) }} />
              <span>{each.label}</span>
            </label>
          ))}
        </fieldset>
        <p className="hint" id={`${id}-mode`}>{MODES.find((each) => each.mode === mode)?.says}</p>

        <label htmlFor={`${id}-file`}>Target file{mode !== 'document' && <span className="quiet"> (optional)</span>}</label>
        <input
          id={`${id}-file`} name="targetFile" value={targetFile} list={`${id}-files`} spellCheck={false} autoCapitalize="off" autoComplete="off"
          required={mode === 'document'} placeholder="lib/index.ts" onChange={({ target }) => { setTargetFile(target.value) }}
        />
        <datalist id={`${id}-files`}>
          {['lib/index.ts', 'lib/server/manager.ts', 'lib/protocol/messages.ts', 'lib/broker/broker.ts', 'examples/canvas/app.ts'].map((file) => (
            <option key={file} value={file} />
          ))}
        </datalist>
      </div>

      <div className="fields">
        <label htmlFor={`${id}-prompt`}>Prompt{mode === 'document' && <span className="quiet"> (optional)</span>}</label>
        <textarea
          id={`${id}-prompt`} name="prompt" value={prompt} rows={4} required={mode !== 'document'}
          placeholder={mode === 'document' ? 'Generate documentation' : 'Create a React component'} onChange={({ target }) => { setPrompt(target.value) }}
        />

        {/* Always there: a live region that comes with its words is not always read out */}
        <div role="alert">{notice !== undefined && <p className="notice failure">{notice}</p>}</div>
        {/* aria-disabled and not disabled, so that the focus stays where it is */}
        <div className="actions">
          <button type="submit" className="primary" aria-disabled={isRunning || isAsking}>{isRunning ? 'Running…' : 'Start'}</button>
          <button type="button" className="stop" aria-disabled={!isRunning || isStopping} onClick={onStop}>{isStopping ? 'Stopping…' : 'Stop'}</button>
        </div>
      </div>
    </form>
  )
}

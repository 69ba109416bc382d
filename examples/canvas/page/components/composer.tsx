import { useAIWebSocket } from 'ai-canvas-ws/react'
import { useId, useState, type SubmitEvent, type ReactElement } from 'react'
import { generate, type Task } from '../generate.js'

const MODES = [
  { mode: 'document', label: 'document', says: 'Writes about what a TypeScript file of this project exports. Needs no language model.' },
  { mode: 'generate', label: 'generate', says: 'A language model writes what you ask for, if the server has one.' },
  { mode: 'explain', label: 'explain', says: 'A language model explains the file, if the server has one.' }
] as const

const CANCEL_REFUSALS: ReadonlySet<string> = new Set(['not_cancellable', 'forbidden', 'unavailable'])

/** Where a job is asked for, and stopped. */
export function Composer ({ sessionId }: { sessionId: string }): ReactElement {
  const [mode, setMode] = useState<string>('document')
  const [prompt, setPrompt] = useState('')
  const [targetFile, setTargetFile] = useState('lib/server/manager.ts')
  const [isAsking, setIsAsking] = useState(false)
  const [refusal, setRefusal] = useState<string>()
  const { aiStatus, cancel } = useAIWebSocket(sessionId, {
    // The answer to a stop that came too late, or was not allowed; how the connection is the panels tell
    onError ({ code, message }) { if (CANCEL_REFUSALS.has(code)) setRefusal(message) }
  })
  const id = useId()
  const isRunning = aiStatus === 'processing'

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

  function stop (): void {
    try {
      cancel()
    } catch (error) {
      setRefusal((error as Error).message)
    }
  }

  function onSubmit (event: SubmitEvent): void {
    event.preventDefault()
    if (!isRunning && !isAsking) void start()
  }

  return (
    <form className="card composer" onSubmit={onSubmit} aria-labelledby={`${id}-title`}>
      <h2 id={`${id}-title`}>A job</h2>
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

      <label htmlFor={`${id}-file`}>Target file</label>
      <input
        id={`${id}-file`} name="targetFile" value={targetFile} list={`${id}-files`} spellCheck={false} autoCapitalize="off" autoComplete="off"
        required={mode === 'document'} placeholder="lib/index.ts" onChange={({ target }) => { setTargetFile(target.value) }}
      />
      <datalist id={`${id}-files`}>
        {['lib/index.ts', 'lib/server/manager.ts', 'lib/protocol/messages.ts', 'lib/broker/broker.ts', 'examples/canvas/app.ts'].map((file) => (
          <option key={file} value={file} />
        ))}
      </datalist>

      <label htmlFor={`${id}-prompt`}>Prompt{mode === 'document' && <span className="quiet"> (optional)</span>}</label>
      <textarea
        id={`${id}-prompt`} name="prompt" value={prompt} rows={4} required={mode !== 'document'}
        placeholder={mode === 'document' ? 'Generate documentation' : 'Create a React component'} onChange={({ target }) => { setPrompt(target.value) }}
      />

      {/* Always there: a live region that comes with its words is not always read out */}
      <div role="alert">{refusal !== undefined && <p className="notice failure">{refusal}</p>}</div>
      {/* aria-disabled and not disabled, so that the focus stays where it is */}
      <div className="actions">
        <button type="submit" className="primary" aria-disabled={isRunning || isAsking}>{isRunning ? 'Running…' : 'Start'}</button>
        <button type="button" className="stop" aria-disabled={!isRunning} onClick={() => { if (isRunning) stop() }}>Stop</button>
      </div>
    </form>
  )
}

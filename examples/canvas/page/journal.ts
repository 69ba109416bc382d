import type { Client, StateReason } from 'ai-canvas-ws/client'

interface Entry {
  id: number
  /** As the clock on the wall. */
  time: string
  text: string
  kind: 'plain' | 'good' | 'bad'
}

/** What became of one connection, in words. */
export interface Journal {
  readonly getSnapshot: () => readonly Entry[]
  readonly subscribe: (listener: () => void) => () => void
}

const MAX_ENTRIES = 20

const reasons: Record<StateReason, string> = {
  lost: 'the connection was lost',
  timeout: 'nobody answered in time',
  silent: 'nobody answered any more',
  offline: 'there is no network',
  token: 'there is no token',
  attempts: 'all attempts are used up',
  refused: 'the server refused',
  disabled: 'reconnecting is off',
  called: 'it was closed here'
}

export function reasonText (reason: StateReason | undefined): string {
  return reason === undefined ? '' : reasons[reason]
}

/** Writes down what happens to a client's connection, and what coming back brought. */
export function keepJournal (client: Client): Journal {
  const listeners = new Set<() => void>()
  let entries: readonly Entry[] = []
  let nextId = 0
  let lostAt: number | undefined
  /** Just back: the next word of the job tells what was missed. */
  let isBack = false

  function write (text: string, kind: Entry['kind'] = 'plain'): void {
    entries = [{ id: nextId++, time: new Date().toLocaleTimeString(), text, kind }, ...entries].slice(0, MAX_ENTRIES)
    for (const listener of listeners) listener()
  }

  client.on('close', ({ wasConnected }) => {
    if (!wasConnected) return
    lostAt ??= Date.now()
    isBack = false
    write(`Cut off: ${reasonText(client.reason)}`, 'bad')
  })
  client.on('state', ({ state, reason }) => {
    if (state === 'closed') write(`Given up: ${reasonText(reason)}`, 'bad')
  })
  client.on('open', () => {
    write(lostAt === undefined ? 'Connected' : `Back after ${((Date.now() - lostAt) / 1000).toFixed(1)} s`, 'good')
    isBack = lostAt !== undefined
    lostAt = undefined
  })
  client.on('gap', ({ reason }) => {
    write(reason === 'restarted' ? 'The server was started anew: what it knew is gone' : `Some messages can't be had any more: ${reason}`, 'bad')
  })
  client.on('ai_progress', ({ progress: { delta = '' } }) => {
    if (isBack) write(`Caught up with ${delta.length.toLocaleString()} characters`, 'good')
    isBack = false
  })
  for (const type of ['ai_complete', 'ai_error'] as const) {
    client.on(type, () => {
      if (isBack) write('Caught up: the job has ended', 'good')
      isBack = false
    })
  }

  return {
    getSnapshot: () => entries,
    subscribe (listener) {
      listeners.add(listener)
      return () => { listeners.delete(listener) }
    }
  }
}

import type { Client, CloseInfo, ConnectionEstablished, StateReason } from 'ai-canvas-ws/client'

export interface Entry {
  readonly id: number
  /** In milliseconds since 1970. */
  readonly at: number
  readonly kind: 'start' | 'cut' | 'back' | 'restart' | 'end' | 'note'
  readonly text: string
}

/** A part of the text that was recovered after a reconnect, in UTF-16 units. */
export interface Recovered {
  readonly from: number
  readonly to: number
}

interface Happened {
  /** Events since the latest job began, oldest first. */
  readonly entries: readonly Entry[]
  /** Times of the latest job. */
  readonly startedAt: number | undefined
  readonly endedAt: number | undefined
  /** Set for two seconds after the recovery. */
  readonly recovered: Recovered | undefined
  /** Whether the server has announced a restart and is not back yet. */
  readonly isRestarting: boolean
  /** Whether the client has reconnected to the same server. */
  readonly hasReturned: boolean
  /** Whether the server was restarted while the page was open. */
  readonly hasSeenRestart: boolean
}

/** A log of one subscriber's connection and latest job, in words. */
export interface Timeline {
  readonly getSnapshot: () => Happened
  readonly subscribe: (listener: () => void) => () => void
}

const MAX_ENTRIES = 30
const SHOWN_MS = 2000
/** The close code of a restarting server, from the registry of RFC 6455. */
const SERVICE_RESTART = 1012

const reasons: Record<StateReason, string> = {
  lost: 'the connection was lost',
  timeout: 'the server did not answer in time',
  silent: 'the server stopped answering',
  offline: 'there is no network',
  token: 'there is no token',
  attempts: 'every attempt failed',
  refused: 'the server refused the connection',
  disabled: 'reconnecting is off',
  called: 'the page closed it'
}

export function reasonText (reason: StateReason | undefined): string {
  return reason === undefined ? '' : reasons[reason]
}

/** Logs the events of a client that is subscribed to one session. */
export function keepTimeline (client: Client): Timeline {
  const listeners = new Set<() => void>()
  let happened: Happened = {
    entries: [], startedAt: undefined, endedAt: undefined, recovered: undefined, isRestarting: false, hasReturned: false, hasSeenRestart: false
  }
  let nextId = 0
  let lostAt: number | undefined
  /** Whether the restart that ended the connection is already logged. */
  let restartIsTold = false
  /** Length of the job's text in this client. */
  let length = 0
  /** Missed messages that are still being replayed, and the length of the text before the disconnect. */
  let missed = 0
  let from = 0

  function change (news: Partial<Happened>): void {
    happened = { ...happened, ...news }
    for (const listener of listeners) listener()
  }

  function write (kind: Entry['kind'], text: string, news: Partial<Happened> = {}, at = Date.now()): void {
    change({ ...news, entries: [...news.entries ?? happened.entries, { id: nextId++, at, kind, text }].slice(-MAX_ENTRIES) })
  }

  function lost ({ code, wasConnected }: CloseInfo): void {
    if (!wasConnected) return
    lostAt ??= Date.now()
    missed = 0
    restartIsTold = code === SERVICE_RESTART
    if (restartIsTold) write('restart', 'The server is restarting', { isRestarting: true })
    else write('cut', `Cut off: ${reasonText(client.reason)}`)
  }

  function opened ({ replaying = 0 }: ConnectionEstablished): void {
    if (lostAt === undefined) {
      write('note', 'Connected')
      return
    }
    write('back', `Back after ${((Date.now() - lostAt) / 1000).toFixed(1)} s`, { isRestarting: false })
    lostAt = undefined
    missed = replaying
    from = length
    // The event for a restart follows immediately.
    queueMicrotask(() => { if (!restartIsTold) change({ hasReturned: true }) })
  }

  /** Counts a message of the job if it is part of the replay. */
  function count (isLast: boolean): void {
    if (missed === 0) return
    missed = isLast ? 0 : missed - 1
    if (missed > 0 || length <= from) return
    const recovered = { from, to: length }
    write('back', `Caught up: ${characters(length - from)}`, { recovered })
    setTimeout(() => { if (happened.recovered === recovered) change({ recovered: undefined }) }, SHOWN_MS)
  }

  client.on('close', lost)
  client.on('open', opened)
  client.on('state', ({ state, reason }) => { if (state === 'closed') write('cut', `Gave up: ${reasonText(reason)}`) })
  client.on('gap', ({ reason }) => {
    if (reason !== 'restarted') {
      write('note', 'Some missed messages are no longer available')
      return
    }
    if (!restartIsTold) write('restart', 'The server restarted')
    restartIsTold = true
    change({ hasSeenRestart: true })
  })
  client.on('ai_start', ({ timestamp }) => {
    // The server's clock may be ahead of this one.
    const at = Math.min(Date.parse(timestamp), Date.now())
    length = from = 0
    write('start', 'Started', { entries: [], startedAt: at, endedAt: undefined, recovered: undefined }, at)
    count(false)
  })
  client.on('ai_progress', ({ progress: { delta = '', offset = length } }) => {
    length = Math.max(length, offset + delta.length)
    count(false)
  })
  client.on('ai_complete', ({ result }) => {
    length = result.contentLength ?? length
    count(true)
    write('end', 'Complete', { endedAt: Date.now() })
  })
  client.on('ai_error', ({ error: { type } }) => {
    count(true)
    write('end', ENDS[type] ?? 'Failed', { endedAt: Date.now() })
  })

  return {
    getSnapshot: () => happened,
    subscribe (listener) {
      listeners.add(listener)
      return () => { listeners.delete(listener) }
    }
  }
}

const ENDS: Readonly<Record<string, string>> = { cancelled: 'Stopped', lost: 'Lost', server_closing: 'Ended by the server' }

export function characters (count: number): string {
  return `${count.toLocaleString()} character${count === 1 ? '' : 's'}`
}

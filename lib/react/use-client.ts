'use client'

import { useContext } from 'react'
import type { Client } from '../client/index.js'
import { givenOptions } from '../client/options.js'
import { ClientContext } from './provider.js'
import { acquire, keyOf, peek, type ConnectionOptions } from './shared-client.js'
import { useHeld } from './use-held.js'

/** A connection as a hook sees it. */
export interface Source {
  /** What there is now, without taking it: nothing while a page renders on a server, or before the first is mounted. */
  peek (): Client | undefined
  /** Takes it, connected or about to be, until `release` is called. */
  acquire (): { readonly client: Client, readonly release: () => void }
}

/**
 * The provider's client, or the one that is shared by all with the same URL, identity and user key.
 *
 * @throws `ClientError` `invalid_option` in the first render, also where another hook's options made the connection
 */
export function useClient (options: ConnectionOptions, latest: { readonly current: ConnectionOptions }): Source {
  const provided = useContext(ClientContext)
  const key = keyOf(options)
  return useHeld<Source>(() => {
    givenOptions(options, { userKey: '' })
    if (provided === undefined) return { peek: () => peek(key), acquire: () => acquire(key, () => latest.current) }
    return {
      peek: () => provided,
      acquire: () => {
        if (provided.state === 'idle') provided.connect()
        return { client: provided, release: () => { /* It is the app's. */ } }
      }
    }
  }, [provided, key, latest])
}

'use client'

import { useContext } from 'react'
import type { Client } from '../client/index.js'
import { checkOptions } from '../client/options.js'
import { ClientContext } from './provider.js'
import { acquire, keyOf, peek, type ConnectionOptions } from './shared-client.js'
import { useStable } from './use-stable.js'

/** Gives a hook access to its client. */
export interface ClientSource {
  /** Returns the client without acquiring it. Undefined during server-side rendering and before the first hook is mounted. */
  peek (): Client | undefined
  /** Acquires the client and connects it. `release` returns it. */
  acquire (): { readonly client: Client, readonly release: () => void }
}

/**
 * Returns the source of the provider's client, or of the client that hooks with the same URL, user id and user key share.
 *
 * @throws `ClientError` `invalid_option` in the first render, even if another hook already created the client
 */
export function useClient (options: ConnectionOptions, latest: { readonly current: ConnectionOptions }): ClientSource {
  const provided = useContext(ClientContext)
  const key = keyOf(options)
  return useStable<ClientSource>(() => {
    checkOptions(options, { userKey: '' })
    if (provided === undefined) return { peek: () => peek(key), acquire: () => acquire(key, () => latest.current) }
    return {
      peek: () => provided,
      acquire: () => {
        if (provided.state === 'idle') provided.connect()
        return { client: provided, release: () => { /* The app closes its own client. */ } }
      }
    }
  }, [provided, key, latest])
}

'use client'

import { createContext, createElement, type ReactElement, type ReactNode } from 'react'
import type { Client } from '../client/index.js'

/** The client that the hooks below a provider use. */
export const ClientContext = createContext<Client | undefined>(undefined)

export interface AICanvasProviderProps {
  /** The app creates, connects and closes this client. The hooks only use it to subscribe to sessions. */
  readonly client: Client
  readonly children?: ReactNode
}

/** Provides the app's own client to the hooks below it. Without a provider the hooks create shared clients themselves. */
export function AICanvasProvider ({ client, children }: AICanvasProviderProps): ReactElement {
  return createElement(ClientContext.Provider, { value: client }, children)
}

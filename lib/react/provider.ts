'use client'

import { createContext, createElement, type ReactElement, type ReactNode } from 'react'
import type { Client } from '../client/index.js'

/** The client that the hooks below a provider use. */
export const ClientContext = createContext<Client | undefined>(undefined)

export interface AICanvasProviderProps {
  /** Made by the app, which connects and closes it: the hooks only follow sessions with it. */
  readonly client: Client
  readonly children?: ReactNode
}

/** Gives the hooks below it a client of the app's own, in the place of the shared ones that they make themselves. */
export function AICanvasProvider ({ client, children }: AICanvasProviderProps): ReactElement {
  return createElement(ClientContext.Provider, { value: client }, children)
}

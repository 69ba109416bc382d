'use client'

import { useInsertionEffect, useRef } from 'react'

/** The latest value, for those who are called later. */
export function useLatest<T> (value: T): { readonly current: T } {
  const latest = useRef(value)
  // Before every other effect, so that none of them sees an older one.
  useInsertionEffect(() => { latest.current = value })
  return latest
}

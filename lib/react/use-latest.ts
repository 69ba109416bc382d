'use client'

import { useInsertionEffect, useRef } from 'react'

/** Returns a ref to the latest value, for callbacks that run later. */
export function useLatest<T> (value: T): { readonly current: T } {
  const latest = useRef(value)
  // Insertion effects run before all other effects, so none of them sees an older value.
  useInsertionEffect(() => { latest.current = value })
  return latest
}

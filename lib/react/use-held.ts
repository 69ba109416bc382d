'use client'

import { useState } from 'react'

/** As `useMemo`, and for good: while the inputs are the same nothing makes another one, hot reload neither. */
export function useHeld<T> (make: () => T, inputs: readonly unknown[]): T {
  const [held, hold] = useState(() => ({ value: make(), inputs }))
  if (inputs.every((input, at) => Object.is(input, held.inputs[at]))) return held.value
  const next = { value: make(), inputs }
  hold(next)
  return next.value
}

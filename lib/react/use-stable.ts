'use client'

import { useState } from 'react'

/** Works like `useMemo`, but guarantees the same value while the inputs are the same, even after a hot reload. */
export function useStable<T> (make: () => T, inputs: readonly unknown[]): T {
  const [held, setHeld] = useState(() => ({ value: make(), inputs }))
  if (inputs.every((input, at) => Object.is(input, held.inputs[at]))) return held.value
  const next = { value: make(), inputs }
  setHeld(next)
  return next.value
}

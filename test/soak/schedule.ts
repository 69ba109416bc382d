import { Random } from './random.js'

/** The possible steps of a chaos run, with their relative frequencies. */
const WEIGHTS = {
  job: 40, note: 14, noteToUser: 8, fleeting: 4, cancel: 6,
  open: 5, close: 4, follow: 8, leave: 6, askAgain: 5, trespass: 4, pause: 6,
  cut: 7, stall: 3, swallow: 2, throttle: 4,
  revoke: 4, garbage: 6, mute: 3, kill: 0.8, restart: 0.8
} as const

type StepName = keyof typeof WEIGHTS

export interface Step {
  /** Time of the step, in milliseconds from the beginning. */
  readonly at: number
  readonly name: StepName
  /** Determines the step's details, together with the tabs that are open at that time. */
  readonly seed: number
}

/** Returns the schedule of a chaos run, which depends on the seed alone. It contains at least one kill and one restart. */
export function scheduleOf (seed: number, durationMs: number): Step[] {
  const random = new Random(seed)
  const steps: Step[] = []
  for (let at = 0; at < durationMs; at += random.between(2, 45)) {
    steps.push({ at, name: random.weighted(WEIGHTS), seed: random.seed() })
  }
  steps.push({ at: durationMs * random.between(25, 40) / 100, name: 'kill', seed: random.seed() })
  steps.push({ at: durationMs * random.between(65, 80) / 100, name: 'restart', seed: random.seed() })
  return steps.sort((a, b) => a.at - b.at)
}

import type { Sample } from './measure.js'
import type { Kind, Metric, Row, Target } from './rows.js'
import { median } from './stats.js'

const MIB = 1024 * 1024

type Column = Metric | 'generator'

/** The metrics that a report shows, their titles and their formats. */
export type Columns = ReadonlyArray<readonly [Column, string, (value: number) => string]>

const columns: Record<Kind, Columns> = {
  publish: [
    ['cpu', 'server CPU, µs a message', fixed(2)], ['rate', 'delivered/s', whole], ['p50', 'p50 ms', millis], ['p99', 'p99 ms', millis],
    ['rss', 'RSS MiB', mebi], ['generator', 'generator CPU, µs', fixed(2)]
  ],
  churn: [['rate', 'connections/s', whole], ['cpu', 'server CPU, µs a connection', fixed(0)], ['generator', 'generator CPU, µs', fixed(0)]],
  stalled: [
    ['waiting', 'most waiting, MiB', mebi], ['rss', 'peak RSS MiB', mebi], ['p50', 'p50 ms', millis], ['p99', 'p99 ms', millis],
    ['rate', 'delivered/s', whole], ['cpu', 'server CPU, µs a message', fixed(2)]
  ],
  blips: [
    ['delivered', 'delivered, %', fixed(3)], ['doubles', 'doubles', whole], ['p50', 'p50 ms', millis], ['p99', 'p99 ms', millis],
    ['cpu', 'server CPU, µs a message', fixed(2)]
  ],
  herd: [
    ['delivered', 'delivered, %', fixed(3)], ['doubles', 'doubles', whole], ['cpu', 'server CPU, ms', millis], ['stall', 'longest stall, ms', millis],
    ['tail', 'last handshake to last delivery, ms', millis]
  ],
  ceiling: [['history', 'most kept, MiB', mebi], ['heap', 'heap and external, MiB', mebi]],
  stream: [
    ['delivered', 'tabs with the whole text, %', fixed(3)], ['cpu', 'server CPU, µs a token', fixed(3)], ['p50', 'p50 ms', millis], ['p99', 'p99 ms', millis]
  ],
  memory: [['rss', 'RSS, KiB a connection', kibi], ['heap', 'heap and external, KiB', kibi]]
}

export function fixed (digits: number) { return (value: number): string => value.toFixed(digits) }
export function whole (value: number): string { return Math.round(value).toLocaleString('en') }
export function millis (value: number): string { return (value / 1000).toFixed(2) }
function mebi (value: number): string { return (value / MIB).toFixed(1) }
function kibi (value: number): string { return (value / 1024).toFixed(2) }

/** The format of a metric that is not a ratio. The default is bytes. */
const formats: Partial<Record<Metric, (value: number) => string>> = {
  delivered: (value) => `${value.toFixed(3)} %`, doubles: whole, p99: (value) => `${millis(value)} ms`, idle: (value) => `${value.toFixed(2)} %`
}

export interface Verdict {
  readonly row: string
  readonly what: string
  readonly value: string
  readonly range: string
  readonly target: string
  readonly verdict: 'OK' | 'miss' | ''
  /** The command that measures it. */
  readonly command?: string
}

/** A row, and how its measurements are shown. */
export interface Reported {
  readonly name: string
  readonly title: string
  readonly entries: ReadonlyArray<{ readonly label: string }>
  readonly targets: readonly Target[]
  readonly columns: Columns
  /** Whether sizes are shown in KiB. @default false, which is MiB */
  readonly inKib?: boolean
}

/** Renders a row as Markdown: its measurements and its targets. */
export function report (row: Row, samples: ReadonlyMap<string, readonly Sample[]>): { text: string, verdicts: Verdict[] } {
  return reportOf({ ...row, columns: columns[row.kind], inKib: row.kind === 'memory' }, samples)
}

export function reportOf (row: Reported, samples: ReadonlyMap<string, readonly Sample[]>): { text: string, verdicts: Verdict[] } {
  const shown = row.columns
  const measured = row.entries.map(({ label }) => [
    label, ...shown.map(([column, , format]) => format(median(values(samples, label, column))))
  ])
  const verdicts = row.targets.map((target) => judge(row, target, samples))
  return {
    text: `\n## ${row.name}: ${row.title}\n\n${table(['medians', ...shown.map(([, title]) => title)], measured)}\n${verdictTable(verdicts)}`,
    verdicts
  }
}

export function verdictTable (verdicts: readonly Verdict[]): string {
  const hasCommands = verdicts.some(({ command }) => command !== undefined)
  return table(['row', 'ratio of', 'median', 'range', 'target', '', ...(hasCommands ? ['command'] : [])],
    verdicts.map(({ row, what, value, range, target, verdict, command = '' }) => [row, what, value, range, target, verdict, ...(hasCommands ? [command] : [])]))
}

function judge (row: Reported, target: Target, samples: ReadonlyMap<string, readonly Sample[]>): Verdict {
  const { of: subject = 'ours', against, metric, minus = false, atMost, atLeast } = target
  const own = values(samples, subject, metric)
  const other = against === undefined ? undefined : values(samples, against, metric)
  const results = own.map((value, round) => {
    const reference = other?.[round]
    return reference === undefined ? value : minus ? value - reference : value / reference
  })
  const isRatio = other !== undefined && !minus
  const format = isRatio ? fixed(3) : formats[metric] ?? (row.inKib === true ? (value: number) => `${kibi(value)} KiB` : (value: number) => `${mebi(value)} MiB`)
  const value = median(results)
  const isReached = (atMost === undefined || value <= atMost) && (atLeast === undefined || value >= atLeast)
  const bound = atMost !== undefined ? `≤ ${isRatio ? String(atMost) : format(atMost)}` : atLeast !== undefined ? `≥ ${isRatio ? String(atLeast) : format(atLeast)}` : ''
  const title = row.columns.find(([column]) => column === metric)?.[1].split(',')[0] ?? metric
  return {
    row: row.name,
    what: `${title}: ${subject}${against === undefined ? '' : ` ${minus ? '−' : '/'} ${against}`}`,
    value: format(value),
    range: `${format(Math.min(...results))} … ${format(Math.max(...results))}`,
    target: bound,
    verdict: bound === '' ? '' : isReached ? 'OK' : 'miss'
  }
}

function values (samples: ReadonlyMap<string, readonly Sample[]>, label: string, column: Column): number[] {
  return (samples.get(label) ?? []).map((sample) => sample[column] ?? NaN)
}

function table (head: readonly string[], body: ReadonlyArray<readonly string[]>): string {
  const widths = head.map((title, at) => Math.max(3, title.length, ...body.map((cells) => cells[at]?.length ?? 0)))
  const line = (cells: readonly string[]): string => `| ${cells.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(' | ')} |\n`
  return line(head) + line(widths.map((width) => '-'.repeat(width))) + body.map(line).join('')
}

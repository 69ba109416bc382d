import type { Stream } from '../streams/broker.js'
import { holds } from './expect.js'
import { SHOWN_UNITS, type EventOf, type NodeEvent } from './recording-node.js'

/** A time in which a node is joined to a stream, and the stream's numbering continues. */
type Span = Array<EventOf<'deliver'> | EventOf<'joined'>>

/**
 * Throws if the deliveries to a node break a rule that holds in every situation. A node gets only the streams that it has joined,
 * in the order of their revisions, with the numbers of durable messages without gaps. After a join has returned, it gets
 * exactly what its result does not cover.
 */
export function checkDeliveries (events: readonly NodeEvent[]): void {
  const open = new Map<Stream, Span>([['all', []]])
  const spans = new Set(open.values())
  const begin = (stream: Stream): void => {
    const span: Span = []
    spans.add(span)
    open.set(stream, span)
  }
  for (const event of events) {
    switch (event.type) {
      case 'join':
        if (!open.has(event.stream)) begin(event.stream)
        break
      case 'restarted':
        if (open.has(event.stream)) begin(event.stream)
        break
      case 'leave':
        open.delete(event.stream)
        break
      case 'closed':
        open.clear()
        break
      case 'joined':
        open.get(event.stream)?.push(event)
        break
      case 'deliver': {
        const span = open.get(event.stream)
        holds(span !== undefined, `the broker delivered ${shown(event)} to a node that has not joined the stream, has left it or is closed`)
        span.push(event)
        break
      }
      case 'reseed':
      case 'orphaned':
      case 'disowned':
      case 'revoke':
      case 'cancel':
      case 'answer':
      case 'statusChanged':
        // These calls are about no delivery.
        break
    }
  }
  for (const span of spans) checkSpan(span)
}

function checkSpan (span: Span): void {
  const deliveries = span.filter((event) => event.type === 'deliver')
  for (const [at, delivery] of deliveries.entries()) {
    const before = deliveries[at - 1]
    if (before === undefined) continue
    holds(delivery.message.revision > before.message.revision, `the broker delivered ${shown(delivery)} after ${shown(before)}: it came twice, or in the wrong order`)
  }
  const joins = [...span.entries()].filter((entry): entry is [number, EventOf<'joined'>] => entry[1].type === 'joined')
  if (joins.length === 0) checkNumbers(deliveries, undefined, 'the one before it')
  for (const [at, { joined: { revision, seq } }] of joins) {
    const late = span.slice(at).find((event): event is EventOf<'deliver'> => event.type === 'deliver' && event.message.revision <= revision)
    holds(late === undefined, `a join returned revision ${revision}, and then the broker delivered ${late === undefined ? '' : shown(late)}`)
    checkNumbers(deliveries.filter(({ message }) => message.revision > revision), seq, `a join that returned revision ${revision}`)
  }
}

/** Throws unless the durable messages continue the numbers from `seq` on. Without `seq`, the first one may have any number. */
function checkNumbers (deliveries: ReadonlyArray<EventOf<'deliver'>>, seq: number | undefined, what: string): void {
  let latest = seq
  for (const delivery of deliveries.filter(({ message }) => message.durable)) {
    const next = latest === undefined ? delivery.message.seq : latest + 1
    holds(delivery.message.seq === next, `after ${what}, the broker delivered ${shown(delivery)} instead of seq ${String(next)}: a message is missing`)
    latest = next
  }
}

function shown ({ stream, message: { body, revision, seq } }: EventOf<'deliver'>): string {
  return `${body.slice(0, SHOWN_UNITS)} in ${stream} (revision ${revision}${seq === undefined ? '' : `, seq ${seq}`})`
}

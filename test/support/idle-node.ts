import type { BrokerNode } from '../../lib/streams/broker.js'

/** Returns a broker's node that does nothing, except for the given methods. */
export function idleNode (methods: Partial<BrokerNode> = {}): BrokerNode {
  return {
    deliver: () => 0,
    restarted: () => undefined,
    reseed: () => undefined,
    orphaned: () => undefined,
    disowned: () => undefined,
    revoke: () => undefined,
    cancel: () => false,
    answer: () => '',
    statusChanged: () => undefined,
    ...methods
  }
}

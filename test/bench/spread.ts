// The distribution of sockets and sessions over several servers. With one server, all of them are on it.

/** Returns the index of the server that a socket connects to. */
export function serverOf (socket: number, servers: number): number {
  return socket % servers
}

/**
 * Returns the index of the server that publishes to a session. With one socket per session, it is not the socket's server, so that
 * every message goes from one server to another.
 */
export function publisherOf (session: number, publishers: number): number {
  return (session + 1) % publishers
}

export interface Spread {
  /** Socket `i` subscribes to session `i % sessions`. */
  readonly sessions: number
  readonly publishers: number
  readonly servers: number
}

/** Returns whether a socket gets its messages from a server other than its own. With one server: true, because there is no other. */
export function isRemote (socket: number, { sessions, publishers, servers }: Spread): boolean {
  return servers === 1 || serverOf(socket, servers) !== publisherOf(socket % sessions, publishers)
}

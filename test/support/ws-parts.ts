import * as ws from 'ws'

interface Receiver {
  on (event: 'message', listener: (data: Buffer, isBinary: boolean) => void): void
  on (event: 'error', listener: (error: Error) => void): void
  end (bytes: Buffer, done: () => void): void
}

interface Extension { accept (offers: object[]): object }

/** Exports of ws that are missing from its type definitions. */
const parts = ws as unknown as {
  Sender: {
    frame (data: Buffer, options: { fin: boolean, opcode: number, mask: boolean, readOnly: boolean, rsv1: boolean }): Buffer[]
  }
  Receiver: new (options: { isServer: boolean, extensions: object }) => Receiver
  PerMessageDeflate: new (options: object) => Extension
}

/** Returns a text frame as the server of ws writes it, without a mask. */
export function senderFrame (text: string, { rsv1 = false } = {}): Buffer {
  return Buffer.concat(parts.Sender.frame(Buffer.from(text), { fin: true, opcode: 1, mask: false, readOnly: true, rsv1 }))
}

/**
 * Reads a server's bytes like the client of ws after it has negotiated permessage-deflate without context takeover. Rejects if
 * the client would close with an error.
 */
export function receive (bytes: Buffer, { serverMaxWindowBits = 15 } = {}): Promise<string[]> {
  const deflate = new parts.PerMessageDeflate({ isServer: false })
  deflate.accept([{ server_no_context_takeover: [true], server_max_window_bits: [String(serverMaxWindowBits)] }])
  const receiver = new parts.Receiver({ isServer: false, extensions: { 'permessage-deflate': deflate } })
  const texts: string[] = []
  return new Promise((resolve, reject) => {
    receiver.on('message', (data, isBinary) => { texts.push(isBinary ? 'binary' : data.toString()) })
    receiver.on('error', reject)
    receiver.end(bytes, () => { resolve(texts) })
  })
}

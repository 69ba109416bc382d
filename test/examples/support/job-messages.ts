import type { Message, TestClient } from '../../support/ws-client.js'

/** Returns every message up to and including the one that ends a job. */
export async function jobMessages (client: TestClient): Promise<Message[]> {
  const all: Message[] = []
  for (;;) {
    const message = await client.next()
    all.push(message)
    if (message.type === 'ai_complete' || message.type === 'ai_error') return all
  }
}

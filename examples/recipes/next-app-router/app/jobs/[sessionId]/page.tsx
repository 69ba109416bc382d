import { connection } from 'next/server'
import { Job } from './job'

export default async function Page ({ params }: { params: Promise<{ sessionId: string }> }) {
  // The URL of the WebSocket is read when the page is requested, and not when it is built
  await connection()
  return <Job sessionId={(await params).sessionId} url={process.env.SOCKET_URL ?? 'ws://localhost:3001/ws'} />
}

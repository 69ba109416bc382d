import { createPublisher } from 'ai-canvas-ws/redis'

const [sessionId = 'my_session'] = process.argv.slice(2)
const publisher = await createPublisher({ redis: process.env.REDIS_URL ?? 'redis://localhost:6379' })

const job = publisher.startAI(sessionId, { prompt: 'Tell a story' })
for (const delta of ['Once ', 'upon ', 'a ', 'time']) await job.progress({ delta })
await job.complete({ by: 'a script' })

await publisher.close()

import { setTimeout as sleep } from 'node:timers/promises'
import { createPublisher } from '../../../lib/redis/index.js'

// A script whose job ends while Redis can't be reached. Only the publisher keeps the process alive then.
const publisher = await createPublisher({ redis: { port: Number(process.env.REDIS_PORT) } })
const job = publisher.startAI('s', {}, { jobId: 'j' })
await job.progress({ delta: 'x' })
process.stdout.write('started\n')
while (publisher.getMetrics().broker.state !== 'unavailable') await sleep(10)
process.stdout.write('away\n')
const { jobId } = await job.complete({})
process.stdout.write(`ended ${jobId}\n`)
await publisher.close()

/** A broker for several nodes over Redis. `README.md` describes it. */
export { redisBroker } from './redis-broker.js'

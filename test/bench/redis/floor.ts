import type { Stream } from '../../../lib/streams/broker.js'

/**
 * The minimum that a message needs in Redis: the commands that read and write the broker's data, in one call for many messages.
 * There are no rules, limits, lifetimes or results.
 */
export const FLOOR = `#!lua name=floor
local function each (keys, args, run)
  for at = 1, #keys do run(keys[at], args[1], args[2], args[3]) end
  return 1
end
redis.register_function('floor_durable', function (keys, args)
  local call = redis.call
  return each(keys, args, function (key, body)
    local metadata = call('GET', 'm:' .. key) or args[4]
    local sent = metadata .. ' 1 2 1690 1 0\\n' .. body
    call('PUBLISH', 'plain:' .. key, sent)
    if call('RPUSH', 'l:' .. key, sent) > 1000 then call('DEL', 'l:' .. key) end
    call('SET', 'm:' .. key, metadata, 'KEEPTTL')
  end)
end)
redis.register_function('floor_progress', function (keys, args)
  local call = redis.call
  return each(keys, args, function (key, body, id, delta)
    local metadata = call('GET', 'm:' .. key) or args[4]
    if call('APPEND', 't:' .. key, delta) > 1048576 then call('DEL', 't:' .. key) end
    call('PUBLISH', 'plain:' .. key, metadata .. ' 1 2 0 12 3 0 40\\n' .. id .. delta .. body)
    call('HSET', 'j:' .. key, 'p' .. id, body)
    call('SET', 'm:' .. key, metadata, 'KEEPTTL')
  end)
end)
`

/** Returns the command that publishes a message to each stream. */
export function floorCall (kind: 'durable' | 'progress', streams: readonly Stream[], body: string, delta: string): [string, ...string[]] {
  const keys = streams.map((stream) => `{b${Number(stream.split('-')[1]) % 64}}c:${stream}`)
  return ['FCALL', `floor_${kind}`, String(keys.length), ...keys, body, 'job', delta, 'x'.repeat(100)]
}

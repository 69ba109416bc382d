import { TypeCompiler } from '@sinclair/typebox/compiler'
import { Value } from '@sinclair/typebox/value'
import fc from 'fast-check'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { Id, isId, MAX_ID_LENGTH } from '../../../lib/protocol/index.js'

const compiled = TypeCompiler.Compile(Id)

/** The schema in every validator: Ajv with Fastify's settings, TypeBox compiled and not. */
async function readers (t: Test): Promise<Record<string, (text: string) => boolean>> {
  const app = Fastify()
  t.teardown(() => app.close())
  let ajv: ((text: string) => boolean) | undefined
  app.get('/', (request, reply) => {
    ajv = request.compileValidationSchema(Id) as typeof ajv
    reply.send('')
  })
  await app.inject('/')
  return { Ajv: ajv!, 'TypeBox compiled': (text) => compiled.Check(text), TypeBox: (text) => Value.Check(Id, text) }
}

t.test('valid ids are accepted', async (t) => {
  for (const id of [
    'x', ' ', 'session_123', 'Zoë', '🎨', '👩‍👩‍👧', '__proto__', 'x'.repeat(MAX_ID_LENGTH), '🎨'.repeat(MAX_ID_LENGTH)
  ]) t.ok(isId(id), id)
})

t.test('invalid ids are rejected', async (t) => {
  for (const value of [
    '', '\0', 'a\nb', 'a\n', '\u007f', '\u0080', '\u009f', '\ud800', 'a\udfff', '\udc00\ud800', '🎨\ud83c', 'x'.repeat(MAX_ID_LENGTH + 1),
    '🎨'.repeat(MAX_ID_LENGTH + 1), undefined, null, 5, true, {}, ['x'], Symbol('x'), Object('x')
  ]) t.notOk(isId(value), JSON.stringify(value))
})

t.test('the schema accepts the same ids in every validator', async (t) => {
  const checks = await readers(t)
  const agree = (text: string): void => {
    const expected = isId(text)
    for (const [name, check] of Object.entries(checks)) if (check(text) !== expected) throw new Error(`${name} says ${String(!expected)}`)
  }
  const unit = fc.oneof(
    { weight: 5, arbitrary: fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }) },
    { weight: 1, arbitrary: fc.constantFrom('\ud800', '\udfff', '\0', '\u001f', ' ', '~', '\u007f', '\u009f', '\u00a0', '\u2028', '🎨', '\n') }
  )
  t.doesNotThrow(() => { fc.assert(fc.property(fc.array(unit, { maxLength: 12 }).map((units) => units.join('')), agree), { numRuns: 2_000 }) })
  const long = fc.tuple(fc.constantFrom('x', 'ä', '€', '🎨'), fc.integer({ min: 120, max: 260 }), fc.constantFrom('', 'x', '🎨', '\n', '\ud83c'))
  t.doesNotThrow(() => { fc.assert(fc.property(long, ([unit, count, end]) => { agree(unit.repeat(count) + end) }), { numRuns: 1_000 }) })
})

t.test('a very long string is rejected as fast as a short one', async (t) => {
  t.notOk(isId('x'.repeat(10_000_000)))
  t.notOk(compiled.Check('x'.repeat(10_000_000)))
})

import t from 'tap'
import { TapLog } from '../../support/tap-log.js'

const shorten = (tap: string): string[] => {
  const log = new TapLog()
  return tap.split('\n').flatMap((line) => log.take(line))
}

t.test('a file that passes is one line, with what was skipped below it', async (t) => {
  t.same(shorten(`TAP version 14
1..2
# Subtest: test/a.test.ts
    # Subtest: it works
        ok 1 - should be equal
        1..1
    ok 1 - it works # time=1.1ms
    
    ok 2 - in a browser # SKIP needs Chromium
    # a comment
    1..2
    # time=1234.5ms
ok 1 - test/a.test.ts # time=1234.5ms

ok 2 - test/b.test.ts # SKIP
`), [
    'ok      1.2 s  test/a.test.ts',
    '    ok 2 - in a browser # SKIP needs Chromium',
    'ok      0.0 s  test/b.test.ts # SKIP'
  ])
})

t.test('a file that fails is followed by the failure and its diff, and by nothing that passed', async (t) => {
  t.same(shorten(`# Subtest: test/a.test.ts
    # Subtest: it works
        ok 1 - should be equal
        not ok 2 - should be equal
          ---
          diff: |
            -1
            +2
          ...
        
        1..2
    not ok 1 - it works # time=1.1ms
    printed by the test
    1..1
    # time=1000ms
not ok 1 - test/a.test.ts # time=1000ms
  ---
  exitCode: 1
  ...

# Subtest: test/b.test.ts
    ok 1 - should be equal
ok 2 - test/b.test.ts # time=10ms
`), [
    'FAIL    1.0 s  test/a.test.ts',
    '        not ok 2 - should be equal',
    '          ---',
    '          diff: |',
    '            -1',
    '            +2',
    '          ...',
    '    not ok 1 - it works # time=1.1ms',
    '    printed by the test',
    '  ---',
    '  exitCode: 1',
    '  ...',
    'ok      0.0 s  test/b.test.ts'
  ])
})

t.test('each file of a group is a line', async (t) => {
  t.same(shorten(`# Subtest: .tap/groups/unit-1.test.mjs
    # Subtest: test/a.test.ts
        # Subtest: it works
            not ok 1 - should be equal
              ---
              diff: |
                -1
              ...
            1..1
        not ok 1 - it works # time=1.1ms
        1..1
    not ok 1 - test/a.test.ts # time=1000ms
      ---
      tapCaught: something
      ...
    # Subtest: test/b.test.ts
        ok 1 - should be equal
    ok 2 - test/b.test.ts # time=10ms
    1..2
    # failed 1 of 2 tests
    # time=1010ms
not ok 1 - .tap/groups/unit-1.test.mjs # time=1010ms
  ---
  exitCode: 1
  ...

# Subtest: .tap/groups/unit-2.test.mjs
    # Subtest: test/c.test.ts
        ok 1 - should be equal
    ok 1 - test/c.test.ts # time=2000ms
ok 2 - .tap/groups/unit-2.test.mjs # time=2000ms
ok 3 - test/d.test.ts # time=1000ms
`), [
    'FAIL    1.0 s  test/a.test.ts',
    '        not ok 1 - should be equal',
    '          ---',
    '          diff: |',
    '            -1',
    '          ...',
    '    not ok 1 - it works # time=1.1ms',
    '  ---',
    '  tapCaught: something',
    '  ...',
    'ok      0.0 s  test/b.test.ts',
    'FAIL    1.0 s  .tap/groups/unit-1.test.mjs',
    '  ---',
    '  exitCode: 1',
    '  ...',
    'ok      2.0 s  test/c.test.ts',
    'ok      1.0 s  test/d.test.ts'
  ])
})

t.test('what is about no file is shown: missing coverage, and the totals', async (t) => {
  const end = [
    'File      | % Stmts | % Branch | % Funcs | % Lines | Uncovered Line #s',
    ' clock.ts |   98.44 |      100 |     100 |   98.44 | 12',
    '# { total: 3, pass: 3 }',
    '# time=1000ms'
  ]
  t.same(shorten(`\n${end.join('\n')}\n`), end)
})

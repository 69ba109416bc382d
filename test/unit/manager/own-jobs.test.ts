import t from 'tap'
import { OwnJobs, type JobReport } from '../../../lib/manager/own-jobs.js'
import type { Published } from '../../../lib/streams/broker.js'
import { FakeClock } from '../../support/fake-clock.js'

const HALF = '💡'[0]!

function report (event: 'start' | 'progress' | 'complete' | 'error', jobId: string | undefined, delta?: string, presumed = false): JobReport {
  return {
    stream: 'session:s',
    body: `{"${event}":{}}`,
    options: { durable: event !== 'progress', job: { event, ...(jobId !== undefined && { jobId }), presumed }, ...(delta !== undefined && { delta }) }
  }
}

function accepted (jobId: string, textEnd?: number): Published {
  return { epoch: 'e', seq: 1, recipients: 0, jobId, ...(textEnd !== undefined && { textEnd }) }
}

function refused (dropped: NonNullable<Published['dropped']>, textEnd?: number): Published {
  return { epoch: 'e', seq: 1, recipients: 0, dropped, ...(textEnd !== undefined && { textEnd }) }
}

/** A node's own jobs, and short ways to report on the job `j`. */
class Stage {
  readonly clock = new FakeClock()
  readonly jobs: OwnJobs

  constructor (maxTextUnits = 1_000) {
    this.jobs = new OwnJobs({ clock: this.clock, maxTextUnits })
  }

  /** Publishes a report that the broker accepts. Returns the offset that it was published with. */
  tell (event: Parameters<typeof report>[0], jobId: string | null = 'j', delta?: string, textEnd?: number): number | undefined {
    const published = this.jobs.publishing('s', report(event, jobId ?? undefined, delta))
    this.jobs.published('s', published, accepted(jobId ?? 'j', textEnd))
    return published.options.from
  }

  /** Returns the seeds as `progress from 0: text`. */
  get seeds (): string[][] {
    return [...this.jobs.sessions.values()].flat().map(({ seeds }) => seeds.map(({ options: { job, from, delta, truncated = false } }) => {
      if (job.repeated !== true || job.jobId === undefined) throw new Error('a seed is not marked')
      return `${job.event}${from === undefined ? '' : ` from ${from}${truncated ? ' truncated' : ''}`}${delta === undefined ? '' : `: ${delta}`}`
    }))
  }
}

t.test('the start, the newest progress and the whole text of a running job are published again', (t) => {
  const stage = new Stage()
  t.same(stage.seeds, [])
  stage.tell('start')
  t.same(stage.seeds, [['start']])
  t.equal(stage.tell('progress', 'j', 'one '), 0)
  t.equal(stage.tell('progress', 'j', `two${HALF}`), 4)
  t.equal(stage.tell('progress', 'j', ''), 8, 'half of a surrogate pair counts')
  t.same(stage.seeds, [['start', `progress from 0: one two${HALF}`]])
  stage.tell('progress')
  t.same(stage.seeds, [['start', `progress from 0: one two${HALF}`]], 'a progress without text comes with all of it')
  t.end()
})

t.test('the state of an ended job is kept for a minute', (t) => {
  const stage = new Stage()
  stage.tell('start')
  stage.tell('progress', 'j', 'text')
  stage.tell('complete')
  t.same(stage.seeds, [['start', 'progress from 0: text', 'complete']])
  stage.clock.advance(59_999)
  t.equal(stage.seeds.length, 1)
  stage.clock.advance(1)
  t.same(stage.seeds, [])
  t.end()
})

t.test('the newest ended jobs are kept within 16 MiB', (t) => {
  const stage = new Stage(Infinity)
  for (const jobId of ['a', 'b', 'c']) {
    stage.tell('start', jobId)
    stage.tell('progress', jobId, jobId.repeat(4_000_000))
    stage.tell('complete', jobId)
  }
  t.equal(stage.seeds.length, 2)
  t.match(stage.seeds[0]![1], /: b+$/)
  t.end()
})

t.test('the real end replaces a presumed one', (t) => {
  const stage = new Stage()
  stage.tell('start')
  stage.jobs.published('s', report('error', 'j', undefined, true), accepted('j'))
  t.same(stage.seeds, [['start', 'error']])
  stage.tell('complete')
  t.same(stage.seeds, [['start', 'complete']])
  stage.tell('complete', 'unknown')
  t.same(stage.seeds, [['start', 'complete'], ['complete']], 'an end without a start is kept as well')
  t.end()
})

t.test('of each session the 16 newest ended jobs are kept', (t) => {
  const stage = new Stage()
  for (let at = 0; at < 20; at++) stage.tell('complete', `j${at}`)
  t.equal(stage.seeds.length, 16)
  t.same([...stage.jobs.sessions.values()].flat().map(({ jobId }) => jobId), Array.from({ length: 16 }, (_, at) => `j${at + 4}`))
  t.end()
})

t.test('the texts of all running jobs are kept within 64 MiB', (t) => {
  const stage = new Stage(Infinity)
  for (const jobId of ['a', 'b', 'c']) {
    stage.tell('start', jobId)
    stage.tell('progress', jobId, jobId.repeat(12_000_000))
  }
  t.same(stage.seeds.map(([, progress]) => progress!.slice(0, 40)), ['a', 'b'].map((text) => `progress from 0: ${text.repeat(23)}`).concat('progress from 12000000 truncated: '))
  stage.jobs.forget('s', 'a')
  stage.tell('progress', 'c', 'more')
  t.equal(stage.seeds[1]![1], 'progress from 12000000 truncated: more')
  t.end()
})

t.test('the text of a job that another node has started is placed by the broker\'s answer', (t) => {
  const stage = new Stage()
  t.equal(stage.tell('progress', 'j', 'cd', 4), undefined)
  t.equal(stage.tell('progress', 'j', 'ef', 6), 4)
  t.same(stage.seeds, [['progress from 2 truncated: cdef']])
  t.end()
})

t.test('text that follows another node\'s begins at the end of that', (t) => {
  const stage = new Stage()
  stage.tell('progress', 'j', undefined, 5)
  t.equal(stage.tell('progress', 'j', 'ab', 7), 5)
  t.same(stage.seeds, [['progress from 5 truncated: ab']])
  const withoutId = new Stage()
  withoutId.tell('progress', null, 'ab', 7)
  t.same(withoutId.seeds, [['progress from 5 truncated: ab']])
  t.end()
})

t.test('the text of two reports in flight is placed once', (t) => {
  const stage = new Stage()
  const [one, two] = ['ab', 'cd'].map((delta) => stage.jobs.publishing('s', report('progress', 'j', delta)))
  stage.jobs.published('s', one!, accepted('j', 12))
  stage.jobs.published('s', two!, accepted('j', 14))
  t.equal(stage.tell('progress', 'j', 'ef', 16), 14)
  t.same(stage.seeds, [['progress from 10 truncated: abcdef']])
  t.end()
})

t.test('text begins at 0 only once the broker has accepted the start', (t) => {
  for (const isStartedElsewhere of [false, true]) {
    const stage = new Stage()
    const start = stage.jobs.publishing('s', report('start', 'j'))
    const early = stage.jobs.publishing('s', report('progress', 'j', 'ab'))
    t.equal(early.options.from, undefined)
    stage.jobs.published('s', start, isStartedElsewhere ? refused('started') : accepted('j'))
    stage.jobs.published('s', early, accepted('j', isStartedElsewhere ? 7 : 2))
    t.equal(stage.tell('progress', 'j', 'cd'), isStartedElsewhere ? 7 : 2)
    t.same(stage.seeds, [['start', isStartedElsewhere ? 'progress from 5 truncated: abcd' : 'progress from 0: abcd']])
  }
  t.end()
})

t.test('reports without a job id are recorded when the broker has named the job', (t) => {
  const stage = new Stage()
  stage.tell('start', 'j')
  t.equal(stage.tell('progress', null, 'ab', 2), undefined)
  t.equal(stage.tell('progress', null, 'cd', 4), undefined)
  t.same(stage.seeds, [['start', 'progress from 0: abcd']])
  t.equal(stage.tell('progress', 'j', 'ef', 6), undefined, 'no offset is claimed that may be wrong')
  t.same(stage.seeds, [['start', 'progress from 0: abcdef']])
  stage.tell('complete', null)
  t.same(stage.seeds, [['start', 'progress from 0: abcdef', 'complete']])
  t.end()
})

t.test('text of which the offset is unknown is not published again', (t) => {
  const stage = new Stage()
  stage.tell('progress', 'j', 'ab')
  t.same(stage.seeds, [['progress']])
  stage.jobs.published('s', report('progress', undefined), refused('stray'))
  t.equal(stage.seeds.length, 1)
  t.end()
})

t.test('a gap is closed with the text from where the broker\'s ends', (t) => {
  const stage = new Stage()
  stage.tell('start')
  stage.tell('progress', 'j', 'one ')
  const lost = stage.jobs.publishing('s', report('progress', 'j', 'two '))
  const next = stage.jobs.published('s', lost, refused('gap', 2))
  t.match(next?.options, { from: 2, delta: 'e two ', truncated: false, job: { jobId: 'j' } })
  t.match(stage.jobs.published('s', lost, refused('gap'))?.options, { from: 0, delta: 'one two ' })
  stage.jobs.forget('s', 'j')
  for (let round = 0; round < 2; round++) {
    const cut = stage.jobs.published('s', lost, refused('gap', 2))
    t.match(cut?.options, { from: 4, delta: 'two ', truncated: true }, 'without the text, the beginning is lost')
    t.equal(stage.jobs.published('s', cut!, refused('gap', 2)), undefined, 'once')
    stage.tell('progress', 'j')
  }
  t.end()
})

t.test('a text that was cut at its limit is published again as truncated', (t) => {
  const stage = new Stage(8)
  stage.tell('start')
  t.equal(stage.tell('progress', 'j', '0123456789'), 0)
  t.same(stage.seeds, [['start', 'progress from 3 truncated: 3456789']])
  const next = stage.jobs.published('s', stage.jobs.publishing('s', report('progress', 'j', 'a')), refused('gap', 1))
  t.match(next?.options, { truncated: true })
  t.end()
})

t.test('a job that another node owns or has ended is forgotten', (t) => {
  for (const dropped of ['owned', 'ended'] as const) {
    const stage = new Stage()
    stage.tell('start')
    stage.jobs.published('s', stage.jobs.publishing('s', report('progress', 'j', 'x')), refused(dropped))
    t.same(stage.seeds, [], dropped)
  }
  const stage = new Stage()
  stage.tell('start')
  stage.jobs.publishing('s', report('start', 'j'))
  stage.jobs.published('s', report('start', 'j'), refused('started'))
  t.same(stage.seeds, [['start']], 'a refused second start changes nothing')
  stage.jobs.forget('s', 'j')
  t.same(stage.seeds, [])
  t.end()
})

/** Publishes a progress that the broker rejects. Returns what the clients of the node get, as `[from, to) text`. */
function rejected (stage: Stage, delta?: string, jobId = 'j'): string | undefined {
  const publication = stage.jobs.rejected('s', stage.jobs.publishing('s', report('progress', jobId, delta)))
  if (publication?.text === undefined) return publication && 'no text'
  const { source, from, to } = publication.text
  const { text, offset, truncated } = source.slice(from, to)
  return `[${from}, ${to}) ${text}${offset === from ? '' : ` at ${offset}`}${truncated ? ' truncated' : ''}, ${source.units} of ${source.end}`
}

t.test('a progress that the broker rejects goes to the node\'s own clients, with the text that they may lack', (t) => {
  const stage = new Stage()
  stage.tell('start')
  stage.tell('progress', 'j', 'one ', 4)
  t.equal(stage.jobs.missing('s', 'j'), undefined)
  t.equal(rejected(stage), 'no text')
  t.equal(stage.jobs.missing('s', 'j'), undefined, 'no text was rejected')
  t.equal(rejected(stage, 'two '), '[4, 8) two , 8 of 8')
  t.equal(rejected(stage, 'three '), '[8, 14) three , 14 of 14')
  t.match(stage.jobs.missing('s', 'j')?.options, { delta: 'two three ', from: 4, truncated: false }, 'before its end')
  stage.tell('progress', 'j', 'four', 18)
  t.equal(stage.jobs.missing('s', 'j'), undefined, 'the broker has everything')
  t.equal(rejected(stage, '.'), '[18, 19) ., 19 of 19')
  stage.tell('progress', 'j', '', 18)
  t.match(stage.jobs.missing('s', 'j')?.options, { delta: '.', from: 18 }, 'the broker has confirmed less')
  stage.tell('complete')
  t.equal(stage.jobs.missing('s', 'j'), undefined)
  t.equal(rejected(stage), 'no text', 'it reports again')
  t.end()
})

t.test('the text of an adopted job has the offsets of the whole job', (t) => {
  const stage = new Stage(8)
  stage.tell('progress', 'j', 'cd', 102)
  t.equal(rejected(stage, 'ef'), '[102, 104) ef, 4 of 104')
  t.equal(rejected(stage, '0123456789'), '[104, 114) 3456789 at 107 truncated, 7 of 114', 'more than is kept')
  t.match(stage.jobs.missing('s', 'j')?.options, { from: 107, truncated: true })
  t.end()
})

t.test('a progress stays rejected if its job or the place of its text is not known', (t) => {
  const stage = new Stage()
  t.equal(rejected(stage, 'text'), undefined, 'nobody knows what came before')
  t.equal(stage.jobs.missing('s', 'j'), undefined)
  t.equal(stage.jobs.rejected('s', report('progress', undefined, 'x')), undefined)
  t.equal(stage.jobs.rejected('s', report('progress', 'unknown', 'x')), undefined)
  t.equal(stage.jobs.rejected('s', report('start', 'j')), undefined)
  t.same([stage.jobs.runs('s', 'j'), stage.jobs.runs('s', 'unknown')], [true, false])
  t.end()
})

t.test('a remote report is recorded once it is accepted, with the text that other nodes may have reported before', (t) => {
  const stage = new Stage()
  const tell = (event: 'start' | 'progress', delta?: string, textEnd?: number): number | undefined => {
    const published = stage.jobs.publishing('s', { ...report(event, 'j', delta), isRemote: true })
    t.equal(stage.jobs.rejected('s', published), undefined, 'its worker repeats it')
    stage.jobs.published('s', published, accepted('j', textEnd))
    return published.options.from
  }
  stage.jobs.publishing('s', { ...report('start', 'j'), isRemote: true })
  t.same(stage.seeds, [], 'it may be refused')
  tell('start')
  t.same(stage.seeds, [['start']])
  t.equal(tell('progress', 'abc', 3), undefined)
  stage.jobs.forget('s', 'j')
  t.equal(tell('progress', 'ghi', 9), undefined)
  t.same(stage.seeds, [['progress from 6 truncated: ghi']], 'the rest was reported by another node')
  tell('start')
  t.same(stage.seeds, [['start', 'progress from 6 truncated: ghi']])
  t.equal(stage.tell('progress', 'j', 'own', 12), undefined, 'its offset is unknown while reports of a worker may be under way')
  t.end()
})

t.test('a start that is accepted after its job was disowned is not recorded', (t) => {
  const stage = new Stage()
  const published = stage.jobs.publishing('s', report('start', 'j'))
  stage.jobs.forget('s', 'j')
  stage.jobs.published('s', published, accepted('j'))
  t.same(stage.seeds, [])
  t.end()
})

t.test('of a job that another node has begun, text that was rejected while the start waited is not published again', (t) => {
  const { jobs } = new Stage()
  const start = jobs.publishing('s', report('start', 'j'))
  t.equal(jobs.rejected('s', jobs.publishing('s', report('progress', 'j', 'lost'))), undefined)
  t.equal(jobs.publishing('s', report('progress', 'j', 'held')).options.delta, undefined, 'its place is not known yet')
  jobs.published('s', start, refused('started'))
  t.equal(jobs.missing('s', 'j'), undefined)
  t.equal(jobs.publishing('s', report('progress', 'j', 'more')).options.delta, 'more')
  t.end()
})

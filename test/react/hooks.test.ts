import t from 'tap'
import './dom.js'

const kit = await import('./kit.js')
const { suite } = await import('./suite.js')

t.match(kit.version, /^19\./)
suite(kit)

import type { UseAIWebSocket } from 'ai-canvas-ws/react'
import { memo, useLayoutEffect, useMemo, useRef, type ReactElement } from 'react'
import { highlight, renderedLength } from '../highlight.js'
import { renderBlocks } from '../markdown.js'
import type { Recovered } from '../timeline.js'

/** The text scrolls along while the reader is within this distance of its end, in pixels. */
const NEAR = 40

/** Shows the growing text. It scrolls along until the reader scrolls back. */
export function Text ({ text, status, label, recovered }: {
  text: string
  status: UseAIWebSocket['aiStatus']
  label: string
  recovered: Recovered | undefined
}): ReactElement {
  const box = useRef<HTMLDivElement>(null)
  const follows = useRef(true)
  const blocks = useMemo(() => renderBlocks(text), [text])

  useLayoutEffect(() => {
    const { current } = box
    if (current !== null && follows.current) current.scrollTop = current.scrollHeight
  }, [text])

  useLayoutEffect(() => {
    if (box.current === null || recovered === undefined) return
    return highlight(box.current, renderedLength(text.slice(0, recovered.from)), renderedLength(text.slice(0, recovered.to)))
  }, [text, recovered])

  function onScroll (): void {
    const { current } = box
    if (current !== null) follows.current = current.scrollHeight - current.scrollTop - current.clientHeight < NEAR
  }

  // Not a live region, because it would be read out without a pause. The status announces start and end.
  return (
    <div ref={box} className="text" role="region" aria-label={label} tabIndex={0} data-recovered={recovered !== undefined} onScroll={onScroll}>
      {text === '' && <p className="quiet">{status === 'processing' ? 'Waiting for the first words…' : 'The text appears here.'}</p>}
      {blocks.map((html, index) => <Block key={index} html={html} />)}
    </div>
  )
}

/** One paragraph, list or code block. The HTML comes from markdown-it, which passes none of the text's own. */
const Block = memo(function Block ({ html }: { html: string }): ReactElement {
  return <div dangerouslySetInnerHTML={{ __html: html }} />
})

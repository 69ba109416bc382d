import { JSDOM } from 'jsdom'
import { FakePage } from '../support/fake-page.js'

// A page for the hooks. It must be imported before React, which looks for a document when it is loaded.

const dom = new JSDOM('<!doctype html><body></body>', { url: 'http://app.example/chat', pretendToBeVisual: true })
const { window } = dom

/** The page's fake network. The test controls the other end of its sockets. */
export const page = new FakePage()

const globals = {
  window, document: window.document, location: window.location, navigator: window.navigator, WebSocket: page.WebSocket,
  addEventListener: window.addEventListener.bind(window), removeEventListener: window.removeEventListener.bind(window)
}
for (const [name, value] of Object.entries(globals)) {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true })
}

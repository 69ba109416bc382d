/** Everything that the hooks' suite needs from React. It is in one file because that is bundled a second time with the older React. */
export { act, cleanup, render, renderHook, fireEvent } from '@testing-library/react'
export { createElement, StrictMode, useEffect, useState, version } from 'react'
export { hydrateRoot } from 'react-dom/client'
export { renderToString } from 'react-dom/server'
export * as hooks from '../../lib/react/index.js'
export { createClient } from '../../lib/client/index.js'

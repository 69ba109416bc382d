/** Everything that the suite of the hooks needs of React, in one place: it is bundled once more for the older React. */
export { act, cleanup, render, renderHook, fireEvent } from '@testing-library/react'
export { createElement, StrictMode, useEffect, useState, version } from 'react'
export { hydrateRoot } from 'react-dom/client'
export { renderToString } from 'react-dom/server'
export * as hooks from '../../lib/react/index.js'
export { createClient } from '../../lib/client/index.js'

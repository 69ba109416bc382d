import { register } from 'node:module'

// Runs TypeScript in Node.js: `node --import=./test/loader/register.mjs file.ts`.
register('./hooks.mjs', import.meta.url, { data: { isGroup: /[\\/]\.tap[\\/]groups[\\/]/.test(process.argv[1] ?? '') } })

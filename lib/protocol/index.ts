/** The wire protocol: message schemas and their types, close codes and error codes. `lib/protocol/README.md` specifies it. */
export * from './messages.js'
export * from './codes.js'
export * from './ids.js'
export * from './positions.js'

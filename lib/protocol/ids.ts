/** The longest session or user id, in UTF-16 units as JavaScript counts them. */
export const MAX_ID_LENGTH = 256

/** No control characters, because ids reach logs; no lone surrogates, because two ids that differ there are one in UTF-8. */
const PRINTABLE = /^[^\p{Cc}\p{Cs}]+$/u

/** Whether a value can be a session's or a user's id. The schema `Id` says the same, for those who read schemas. */
export function isId (value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_ID_LENGTH && PRINTABLE.test(value)
}

/** The longest session or user id, in characters: Unicode code points, which every language can count. */
export const MAX_ID_LENGTH = 256

/** No control characters, because ids reach logs; no lone surrogates, because two ids that differ there are one in UTF-8. */
const PRINTABLE = new RegExp(`^[^\\p{Cc}\\p{Cs}]{1,${MAX_ID_LENGTH}}$`, 'u')

/** Whether a value can be a session's or a user's id. The schema `Id` says the same, for those who read schemas. */
export function isId (value: unknown): value is string {
  return typeof value === 'string' && PRINTABLE.test(value)
}

/** Maximum length of a session or user id in characters. These are Unicode code points, which any language can count. */
export const MAX_ID_LENGTH = 256

/**
 * No control characters, because ids appear in logs. No lone surrogates, because ids that differ only in these are equal in
 * UTF-8.
 */
const PRINTABLE = new RegExp(`^[^\\p{Cc}\\p{Cs}]{1,${MAX_ID_LENGTH}}$`, 'u')

/** Returns whether a value is a valid session or user id. The schema `Id` describes the same values. */
export function isId (value: unknown): value is string {
  return typeof value === 'string' && PRINTABLE.test(value)
}

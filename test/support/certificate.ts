import { createSign, generateKeyPairSync } from 'node:crypto'

export interface Certificate { key: string, cert: string }

/**
 * Encodes a value in DER (X.690). Certificates are generated here because Node.js can read certificates but not write them, and
 * a committed certificate would expire.
 */
function der (tag: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts)
  const { length } = body
  const head = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...head]), body])
}

const sequence = (...parts: Buffer[]): Buffer => der(0x30, ...parts)
const text = (tag: number, value: string): Buffer => der(tag, Buffer.from(value, 'latin1'))
const oid = (hex: string): Buffer => der(0x06, Buffer.from(hex, 'hex'))

const ecdsaWithSha256 = sequence(oid('2a8648ce3d040302'))
const isAuthority = sequence(oid('551d13'), der(0x04, sequence(der(0x01, Buffer.from([0xff])))))

/** Encodes a time of this century as UTCTime, in whole seconds. */
function utcTime (ms: number): Buffer {
  return text(0x17, `${new Date(ms).toISOString().replace(/\D/g, '').slice(2, 14)}Z`)
}

/** Creates a self-signed certificate for a host and 127.0.0.1 (RFC 5280, section 4.1) that is valid for a day. */
export function selfSigned (host = 'localhost'): Certificate {
  const name = sequence(der(0x31, sequence(oid('550403'), text(0x0c, host))))
  const alternativeNames = sequence(oid('551d11'), der(0x04, sequence(text(0x82, host), der(0x87, Buffer.from([127, 0, 0, 1])))))
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const day = 24 * 60 * 60 * 1000
  const content = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.from([1])),
    ecdsaWithSha256,
    name,
    sequence(utcTime(Date.now() - day), utcTime(Date.now() + day)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(isAuthority, alternativeNames))
  )
  const signature = createSign('SHA256').update(content).sign(privateKey)
  const certificate = sequence(content, ecdsaWithSha256, der(0x03, Buffer.from([0]), signature))
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    cert: `-----BEGIN CERTIFICATE-----\n${certificate.toString('base64').replace(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`
  }
}

/** Returns the subprotocols with which a client sends its token, as browsers must. */
export function carry (token: string): string[] {
  return ['ai-canvas.v1', carrier(token)]
}

export function carrier (token: string): string {
  return `ai-canvas.token.${Buffer.from(token).toString('base64url')}`
}

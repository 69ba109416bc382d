export function strip (source: string): Promise<string>
export function stripAll (): Promise<void>

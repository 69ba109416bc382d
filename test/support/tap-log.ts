const GROUPS = '.tap/groups/'

/**
 * Shortens the TAP of a whole run to one line per test file. Below a file, it prints the failures with their diffs, and the
 * skipped tests. It keeps all lines that do not belong to a test file, such as the table of missing coverage. The files of a
 * group are subtests of the group, which gets no line itself unless it fails.
 */
export class TapLog {
  /** The lines of the current file to print if it fails. */
  #details: string[] = []
  /** Whether the YAML block of a failed file follows. */
  #inDiagnostic = false
  #inGroup = false

  /** Takes one line of TAP and returns the lines to print. */
  take (line: string): string[] {
    if (line.startsWith(`# Subtest: ${GROUPS}`)) this.#inGroup = true
    if (!this.#inGroup) return this.#takeOfFile(line)
    if (line.startsWith('    ')) return line.startsWith('    # ') ? [] : this.#takeOfFile(line.slice(4))
    this.#inGroup = !/^(?:not )?ok /.test(line)
    return /^(?:ok |# Subtest: )/.test(line) ? [] : this.#takeOfFile(line)
  }

  #takeOfFile (line: string): string[] {
    if (this.#inDiagnostic && line.startsWith('  ')) {
      this.#inDiagnostic = line !== '  ...'
      return [line]
    }
    const [, not, file, ms, directive = ''] = /^(not )?ok \d+ - (.+?)(?: # time=([\d.]+)ms)?( # (?:SKIP|TODO).*)?$/.exec(line) ?? []
    if (file !== undefined) {
      const details = this.#details
      this.#details = []
      this.#inDiagnostic = not !== undefined
      const seconds = (Number(ms ?? 0) / 1000).toFixed(1).padStart(6)
      return [`${not === undefined ? 'ok  ' : 'FAIL'} ${seconds} s  ${file}${directive}`,
        ...not === undefined ? details.filter(isDirective) : details]
    }
    if (/^(?:TAP version|1\.\.|# Subtest: |$)/.test(line)) return []
    if (!line.startsWith('    ')) return [line]
    if (!/^ +(?:ok \d|# Subtest: |1\.\.\d|# time=|$)/.test(line) && line.trim() !== '' || isDirective(line)) this.#details.push(line)
    return []
  }
}

function isDirective (line: string): boolean {
  return /^ +(?:not )?ok \d.* # (?:SKIP|TODO)/.test(line)
}

/** One thing that was found out about a configuration and its surroundings. */
export interface Finding {
  /** An error keeps the program from working; a warning may be meant so; a note says what is well. */
  severity: 'error' | 'warning' | 'note';
  /** The key's full path and what is wrong: `ssl.cert_file: ...`. */
  text: string;
}

export function error(text: string): Finding {
  return { severity: 'error', text };
}

export function warning(text: string): Finding {
  return { severity: 'warning', text };
}

export function note(text: string): Finding {
  return { severity: 'note', text };
}

const order: readonly Finding['severity'][] = ['error', 'warning', 'note'];

/** The findings for people, the worst first, with a line for the file as a whole above them. */
export function formatReport(path: string, findings: Finding[]): string {
  const count = (severity: Finding['severity']) => findings.filter((finding) => finding.severity === severity).length;
  const errors = count('error');
  const head = errors === 0 ? 'ok' : `${errors} ${errors === 1 ? 'error' : 'errors'}`;
  const lines = [...findings]
    .sort((a, b) => order.indexOf(a.severity) - order.indexOf(b.severity))
    .map(({ severity, text }) => `  ${severity.padEnd(8)} ${text}`);
  return `${[`${path}: ${head}`, ...lines].join('\n')}\n`;
}

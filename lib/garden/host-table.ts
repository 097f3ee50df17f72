import type { HostFinding } from '../containers/oci/host-finding.js';
import { formatTable } from '../process/table.js';

/** What was found out about the host, as a table for people. */
export function formatFindings(findings: HostFinding[]): string {
  const rows = findings.map(({ subject, state, detail, optional, remedy }) => [
    subject,
    state,
    state !== 'ok' && optional !== undefined ? `${detail} (without it: no ${optional})` : detail,
    state === 'ok' ? '' : (remedy ?? ''),
  ]);
  return `${formatTable(['WHAT', 'STATE', 'DETAIL', 'REMEDY'], rows).join('\n')}\n`;
}

import { type Findings, invalidField, when } from './findings.js';

const algorithms = ['md5', 'sha1', 'sha256'];

/** docs/protocol/bbs.md §4.5, Download: both or neither. */
export function checksumFindings(checksum: { checksumAlgorithm: string; checksumValue: string }): Findings {
  const { checksumAlgorithm, checksumValue } = checksum;
  if (checksumAlgorithm === '') return when(checksumValue !== '', 'checksum algorithm');
  if (checksumValue === '') return when(true, 'checksum value');
  return algorithms.includes(checksumAlgorithm.toLowerCase()) ? [] : [invalidField('invalid algorithm')];
}

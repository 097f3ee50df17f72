import { createHash } from 'node:crypto';

const alphabet = 'abcdefghijklmnopqrstuvwxyz012345';
const tagLength = 4;

/** The mark of an engine on its host: four characters that follow from the path of its depot. */
export function engineTag(depotDirectory: string): string {
  const digest = createHash('sha256').update(depotDirectory).digest();
  return Array.from(digest.subarray(0, tagLength), (byte) => alphabet[byte % alphabet.length]).join('');
}

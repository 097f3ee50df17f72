import { createHash } from 'node:crypto';

const tagLength = 4;

/** The mark of an engine on its host: four hexadecimal digits that follow from the path of its depot. */
export function engineTag(depotDirectory: string): string {
  return createHash('sha256').update(depotDirectory).digest('hex').slice(0, tagLength);
}

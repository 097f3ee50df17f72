import { readFileSync } from 'node:fs';

const groupFile = '/etc/group';

/** Number of a group of the host, by its name or its number; undefined when there is no such name. */
export function hostGroupId(group: string | number): number | undefined {
  if (typeof group === 'number') return group;
  if (/^\d{1,10}$/.test(group)) return Number(group);
  const lines = readFileSync(groupFile, 'utf8').split('\n');
  const [, , id] = lines.map((line) => line.split(':')).find(([name]) => name === group) ?? [];
  return id !== undefined && /^\d{1,10}$/.test(id) ? Number(id) : undefined;
}

/** Value of `security.capability` as the kernel keeps it (linux/capability.h, `vfs_ns_cap_data`), little-endian words. */
const fields = { version: 3, root: 20 } as const;
const sizes = { 2: 20, 3: 24 } as const;

/**
 * The capabilities of a file for the root of a container: those that were given in the initial user namespace mean
 * something else in that of a container, unless they name its root (`capabilities(7)`, namespaced file capabilities).
 *
 * @param value bytes, one character each
 * @param ownerOnDisk the id on the disk of an id in the archive, if it has one
 * @returns undefined for what is no capability set, or counts for nobody
 */
export function capabilityOnDisk(value: string, ownerOnDisk: (id: number) => number | undefined): string | undefined {
  const given = Buffer.from(value, 'latin1');
  const version = given[fields.version];
  if (!(version === 2 || version === 3) || given.length !== sizes[version]) return undefined;
  const root = ownerOnDisk(version === 3 ? given.readUInt32LE(fields.root) : 0);
  if (root === undefined) return undefined;
  if (root === 0) return value;
  const shifted = Buffer.alloc(sizes[3]);
  given.copy(shifted);
  shifted.writeUInt8(3, fields.version);
  shifted.writeUInt32LE(root, fields.root);
  return shifted.toString('latin1');
}

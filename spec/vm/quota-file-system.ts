import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const recipes = {
  xfs: { make: ['mkfs.xfs', '-q'], mount: 'pquota' },
  ext4: { make: ['mkfs.ext4', '-q', '-F', '-O', 'quota,project', '-E', 'lazy_itable_init=1'], mount: 'prjquota' },
};
const sizeBytes = 2 ** 31;

export interface QuotaFileSystem {
  /** Where it is mounted. */
  path: string;
  remove(): void;
}

/** Makes a file system of 2 GiB in a sparse file and mounts it, with project quotas or without. */
export function makeQuotaFileSystem(kind: 'xfs' | 'ext4', options: { isEnforced?: boolean } = {}): QuotaFileSystem {
  const { isEnforced = true } = options;
  const { make, mount } = recipes[kind];
  const directory = mkdtempSync(join(tmpdir(), `${kind}-`));
  const image = join(directory, 'image');
  const path = join(directory, 'mounted');
  mkdirSync(path);
  writeFileSync(image, '');
  truncateSync(image, sizeBytes);
  execFileSync(make[0]!, [...make.slice(1), image]);
  execFileSync('mount', ['-t', kind, '-o', `loop,noatime${isEnforced ? `,${mount}` : ''}`, image, path]);
  return {
    path,
    remove() {
      execFileSync('umount', [path]);
      rmSync(directory, { recursive: true });
    },
  };
}

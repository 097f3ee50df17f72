import { readFileSync } from 'node:fs';
import { type LayerEntry, tarOf } from './image-layout.js';

const applets = ['sh', 'cat', 'ls', 'echo', 'dd', 'env', 'id', 'stat', 'sleep', 'touch', 'mkdir', 'rm', 'chmod'];

/** Entries of the smallest root file system in which a shell runs: the host's static busybox. */
export function busyboxEntries(): LayerEntry[] {
  return [
    { name: './', type: 'directory', mode: 0o755 },
    { name: 'bin/', type: 'directory', mode: 0o755 },
    { name: 'bin/busybox', content: readFileSync('/bin/busybox'), mode: 0o755 },
    ...applets.map((name): LayerEntry => ({ name: `bin/${name}`, type: 'symlink', linkname: 'busybox' })),
    { name: 'tmp/', type: 'directory', mode: 0o1777 },
    { name: 'etc/', type: 'directory', mode: 0o755 },
    { name: 'etc/passwd', content: 'root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n' },
    { name: 'etc/group', content: 'root:x:0:\nalice:x:1000:\n' },
    { name: 'root/', type: 'directory', mode: 0o700 },
    { name: 'home/alice/', type: 'directory', mode: 0o755, uid: 1000, gid: 1000 },
  ];
}

/** The same as a tar archive, with more entries at its end. */
export function busyboxLayer(...more: LayerEntry[]): Promise<Buffer> {
  return tarOf([...busyboxEntries(), ...more]);
}

import { basename } from 'node:path';

/** What a dynamically linked program needs to start. */
export interface SharedLibraries {
  /** The program interpreter, `/lib64/ld-linux-x86-64.so.2`; undefined for a static program. */
  loader: string | undefined;
  /** Files by the name that they are looked up with. */
  libraries: Map<string, string>;
}

/**
 * Reads what `ldd` prints: `libm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x7f..)`, the loader as a bare path.
 *
 * @throws when a library is missing on this machine
 */
export function parseLdd(output: string): SharedLibraries {
  const libraries = new Map<string, string>();
  let loader: string | undefined;
  for (const line of output.split('\n')) {
    const [, name, target] = /^\s*(\S+)(?: => (.+?))?(?: \(0x[0-9a-f]+\))?$/.exec(line) ?? [];
    if (name === undefined || name.startsWith('linux-vdso') || name.startsWith('linux-gate')) continue;
    if (target === 'not found') throw new Error(`shared library ${name} is not found`);
    const isLoader = name.startsWith('/') && basename(name).startsWith('ld');
    if (isLoader) loader = name;
    else if (target?.startsWith('/')) libraries.set(basename(name), target);
  }
  return { loader, libraries };
}

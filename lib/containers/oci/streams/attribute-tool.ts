import { access, chmod, copyFile, mkdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { runHostProgram } from '../host-program.js';
import { findProgram } from '../host-tools.js';
import { attributeToolPathInContainer } from '../runtime/bundle-mounts.js';
import type { OciProcess } from '../runtime/process.js';
import type { EntryAttributes } from './tar-normalizer.js';

const loader = 'ld.so';
const program = 'setfattr';

/**
 * Puts `setfattr` into a directory with all that it needs to run where there is nothing of the host.
 *
 * @returns whether this host has the program
 */
export async function prepareAttributeTool(directory: string): Promise<boolean> {
  const path = await findProgram(program);
  if (path === undefined) return false;
  await mkdir(directory, { recursive: true, mode: 0o755 });
  const { stdout } = await runHostProgram('libc-bin', 'ldd', [path]);
  const libraries = [...stdout.matchAll(/(\/\S+) \(0x/g)].map(([, library]) => library!);
  await Promise.all(
    [path, ...libraries].map(async (source) => {
      const name = basename(source).startsWith('ld-') ? loader : basename(source);
      const target = join(directory, name);
      // Containers that live on may be using it.
      if (await exists(target)) return;
      await copyFile(source, target);
      await chmod(target, 0o755);
    }),
  );
  return true;
}

/**
 * The process that sets extended attributes which come on its standard input, in a directory. It must run as any other
 * process of the container does: the dynamic loader obeys the container's files.
 */
export function attributeProcess(process: Pick<OciProcess, 'user' | 'capabilities'>, directory: string): OciProcess {
  const tool = attributeToolPathInContainer;
  return {
    ...process,
    terminal: false,
    args: [`${tool}/${loader}`, '--library-path', tool, `${tool}/${program}`, '--no-dereference', '--restore=-'],
    env: ['LC_ALL=C'],
    cwd: directory,
    noNewPrivileges: false,
  };
}

/** What `setfattr --restore` reads. */
export function formatAttributes(entries: EntryAttributes[]): string {
  const blocks = entries.map(({ name, attributes }) => {
    const lines = attributes.map(
      ([attribute, value]) => `${escaped(Buffer.from(attribute))}=0s${value.toString('base64')}`,
    );
    return `# file: ${escaped(withoutLeadingSlashes(name))}\n${lines.join('\n')}\n`;
  });
  return blocks.join('\n');
}

function withoutLeadingSlashes(name: Buffer): Buffer {
  const start = name.findIndex((byte) => byte !== 0x2f);
  return start < 0 ? Buffer.from('.') : name.subarray(start);
}

/** Everything but plain characters as three octal digits. */
function escaped(text: Buffer): string {
  return [...text]
    .map((byte) => {
      const isPlain = byte > 0x20 && byte < 0x7f && byte !== 0x5c && byte !== 0x3d;
      return isPlain ? String.fromCharCode(byte) : `\\${byte.toString(8).padStart(3, '0')}`;
    })
    .join('');
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

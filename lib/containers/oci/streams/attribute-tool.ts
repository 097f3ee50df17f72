import { access, chmod, copyFile, mkdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { runHostProgram } from '../host-program.js';
import { findProgram } from '../host-tools.js';
import { attributeToolPathInContainer } from '../runtime/bundle-mounts.js';
import type { OciProcess } from '../runtime/process.js';
import { type FileAttributes, plainName } from './attributed-archive.js';
import type { EntryAttributes } from './tar-normalizer.js';

const loader = 'ld.so';
const programs = ['setfattr', 'getfattr'] as const;

/**
 * Puts `setfattr` and `getfattr` into a directory with all that they need to run where there is nothing of the host.
 *
 * @returns whether this host has the programs
 */
export async function prepareAttributeTool(directory: string): Promise<boolean> {
  const found = await Promise.all(programs.map(findProgram));
  const paths = found.filter((path) => path !== undefined);
  if (paths.length < programs.length) return false;
  await mkdir(directory, { recursive: true, mode: 0o755 });
  const libraries = (await Promise.all(paths.map(librariesOf))).flat();
  await Promise.all(
    [...new Set([...paths, ...libraries])].map(async (source) => {
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

/** The dynamic loader lists them in place of running the program. `ldd` does the same with six processes more. */
async function librariesOf(path: string): Promise<string[]> {
  const { stdout } = await runHostProgram('attr', path, [], { env: { LD_TRACE_LOADED_OBJECTS: '1' } });
  return [...stdout.matchAll(/(\/\S+) \(0x/g)].map(([, library]) => library!);
}

type Runner = Pick<OciProcess, 'user' | 'capabilities'>;

/** The process that sets extended attributes which come on its standard input, in a directory. */
export function attributeSetter(runner: Runner, directory: string): OciProcess {
  return attributeProcess('setfattr', runner, directory, ['--no-dereference', '--restore=-']);
}

/** The process that tells the extended attributes of a file, or of all in a directory, on its standard output. */
export function attributeTeller(runner: Runner, directory: string, entry: string): OciProcess {
  const told = ['--dump', '--encoding=base64', `--match=${archivedAttributes}`];
  return attributeProcess('getfattr', runner, directory, [...told, '-R', '-P', '-h', '--', entry]);
}

/** Those that archives carry; `user.overlay` is the kernel's own. */
const archivedAttributes = '^(user\\.|security\\.capability$)';
const hiddenAttributes = 'user.overlay.';

/** It must run as any other process of the container does: the dynamic loader obeys the container's files. */
function attributeProcess(
  program: (typeof programs)[number],
  runner: Runner,
  directory: string,
  args: string[],
): OciProcess {
  const tool = attributeToolPathInContainer;
  return {
    ...runner,
    terminal: false,
    args: [`${tool}/${loader}`, '--library-path', tool, `${tool}/${program}`, ...args],
    env: ['LC_ALL=C'],
    cwd: directory,
    noNewPrivileges: false,
  };
}

/** What `setfattr --restore` reads. */
export function formatAttributes(entries: EntryAttributes[]): string {
  const blocks = entries.map(({ name, attributes }) => {
    const lines = attributes.map(
      ([attribute, value]) => `${escaped(attribute)}=0s${Buffer.from(value, 'latin1').toString('base64')}`,
    );
    return `# file: ${escaped(withoutLeadingSlashes(name))}\n${lines.join('\n')}\n`;
  });
  return blocks.join('\n');
}

/**
 * Reads what `getfattr --dump` prints.
 *
 * @returns attributes by the names of files as `plainName` gives them; what is malformed is left out
 */
export function parseAttributes(text: string): FileAttributes {
  const files = new Map<string, Map<string, string>>();
  for (const block of text.split('\n\n')) {
    const [head = '', ...lines] = block.split('\n');
    if (!head.startsWith('# file: ')) continue;
    const attributes = lines.flatMap((line): [string, string][] => {
      const [, name, value] = /^([^=]+)=0s([A-Za-z0-9+/=]*)$/.exec(line) ?? [];
      if (name === undefined || value === undefined || name.startsWith(hiddenAttributes)) return [];
      return [[unescaped(name), Buffer.from(value, 'base64').toString('latin1')]];
    });
    if (attributes.length > 0) files.set(plainName(unescaped(head.slice('# file: '.length))), new Map(attributes));
  }
  return files;
}

function withoutLeadingSlashes(name: string): string {
  return name.replace(/^\/+/, '') || '.';
}

/** Everything but plain characters as three octal digits; of text with one character per byte. */
function escaped(text: string): string {
  return Array.from(text, (character) => {
    const isPlain = /^[\x21-\x7e]$/.test(character) && character !== '\\' && character !== '=';
    return isPlain ? character : `\\${character.charCodeAt(0).toString(8).padStart(3, '0')}`;
  }).join('');
}

function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** A process as a script for the bash that Warden feeds it to. */
export interface JobScriptSpec {
  path: string;
  args: readonly string[];
  /** Absent: the user's home. */
  dir?: string;
  /** `NAME=value`, each name once. */
  env: readonly string[];
  /** File in the container that the process's id is put into. */
  pidFile: string;
  /** What the process reads: bytes, or a file in the container that is removed as soon as it is open. */
  stdin: { bytes: Buffer } | { file: string } | undefined;
}

/** Exit status of a preparation that did not find the executable, as the shell's own. */
export const notFoundStatus = 127;
const shellName = /^[A-Za-z_][A-Za-z0-9_]*$/;
/** Names that bash keeps for itself. */
const readOnlyNames = new Set(['BASHOPTS', 'BASH_VERSINFO', 'EUID', 'PPID', 'SHELLOPTS', 'UID']);

/**
 * The script that becomes the process. Secrets stay out of every argument list: variables are exported by the shell,
 * but for those whose names it does not take. bash reads a script from a pipe byte by byte, so that what stands behind
 * the last line is left for the process to read.
 */
export function jobScript({ path, args, dir, env, pidFile, stdin }: JobScriptSpec): Buffer {
  const exported = env.filter((entry) => isShellName(nameOf(entry)));
  const others = env.filter((entry) => !isShellName(nameOf(entry)));
  const command = [path, ...args].map(quote).join(' ');
  const program = others.length > 0 ? `env ${others.map(quote).join(' ')} ${command}` : command;
  const lines = [
    `{ echo $$ > ${quote(pidFile)}; } 2> /dev/null`,
    ...(dir === undefined ? [] : [`cd ${quote(dir)} || exit 1`]),
    ...exported.map((entry) => `export ${nameOf(entry)}=${quote(entry.slice(nameOf(entry).length + 1))}`),
    ...(stdin && 'file' in stdin
      ? [openingLine(stdin.file, program)]
      : [`exec ${program}${stdin ? '' : ' < /dev/null'}`]),
  ];
  const script = Buffer.from(`${lines.join('\n')}\n`);
  return stdin && 'bytes' in stdin ? Buffer.concat([script, stdin.bytes]) : script;
}

/** One line: from the redirection on, bash would read the file as its script. */
function openingLine(file: string, program: string): string {
  return `{ exec < ${quote(file)}; rm -f ${quote(file)}; exec ${program}; }`;
}

/**
 * A script, to be run as root, that makes a missing directory for a user and then tells whether an executable is there:
 * status 127 means that it is not.
 */
export function preparationScript(options: {
  path: string;
  dir?: string;
  user: string;
  env: readonly string[];
}): string {
  const { path, dir, user, env } = options;
  const searchPath = env.findLast((entry) => nameOf(entry) === 'PATH');
  return [
    ...(dir === undefined ? [] : [directoryScript(dir, user), `cd ${quote(dir)} || exit 1`]),
    ...(searchPath === undefined ? [] : [`PATH=${quote(searchPath.slice('PATH='.length))}`]),
    `type -P -- ${quote(path)} > /dev/null || exit ${notFoundStatus}`,
    '',
  ].join('\n');
}

/** A script, to be run as root, that makes a directory and its missing parents for a user; what exists stays as it is. */
export function directoryScript(dir: string, user: string): string {
  return [
    `d=${quote(dir)}; missing=()`,
    `while [ ! -e "$d" ]; do missing=("$d" "\${missing[@]}"); d=$(dirname "$d"); done`,
    `for d in "\${missing[@]}"; do`,
    `  mkdir -m 755 -- "$d" && chown ${quote(`${user}:`)} "$d" || exit 1`,
    'done',
  ].join('\n');
}

/** A word for the shell, whatever is in it. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** Of entries for one name only the last stays. */
export function mergeEnvironments(...environments: readonly (readonly string[])[]): string[] {
  const entries = new Map<string, string>();
  for (const entry of environments.flat()) {
    entries.delete(nameOf(entry));
    entries.set(nameOf(entry), entry);
  }
  return [...entries.values()];
}

function nameOf(entry: string): string {
  return entry.slice(0, entry.indexOf('='));
}

function isShellName(name: string): boolean {
  return shellName.test(name) && !readOnlyNames.has(name);
}

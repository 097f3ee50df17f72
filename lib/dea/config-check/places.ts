import { constants } from 'node:fs';
import { access, readFile, stat, statfs } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { error, type Finding, warning } from '../../config/finding.js';
import { type DeaConfig, type EngineKind, engineKind } from '../config.js';
import { appUser } from '../containers.js';

/** Types of file systems as statfs(2) tells them. */
const fileSystems = new Map([
  [0x01021994, 'in memory: what the cell keeps is lost when the machine restarts'],
  [0x858458f6, 'in memory: what the cell keeps is lost when the machine restarts'],
  [0x6969, 'on NFS: containers need a local file system'],
]);

const mebibyte = 1024 * 1024;

/** Directories and files that are missing, or of no use where they are. */
export async function checkPlaces(config: DeaConfig): Promise<Finding[]> {
  const kind = engineKind(config);
  const findings = await Promise.all([
    checkBaseDirectory(config),
    checkWritableParent('pid_filename', config.pid_filename),
    ...(config.logging.file === undefined ? [] : [checkWritableParent('logging.file', config.logging.file)]),
    ...config.stacks.map((stack, index) => checkStack(`stacks[${index}]`, stack.package_path, kind, config.base_dir)),
    ...config.bind_mounts.map(({ src_path }, index) => checkBindMount(`bind_mounts[${index}].src_path`, src_path)),
    ...Object.entries(config.hooks).map(([name, path]) => checkHook(`hooks.${name}`, path)),
  ]);
  return [...findings.flat(), ...checkStacks(config), ...checkMemory(config)];
}

async function checkBaseDirectory({ base_dir: path, resources }: DeaConfig): Promise<Finding[]> {
  const existing = await nearestExisting(path);
  if (!(await stat(existing)).isDirectory()) return [error(`base_dir: ${existing} is no directory`)];
  const unwritable = await checkWritable('base_dir', existing);
  if (unwritable) return [unwritable];
  const { type, blocks, bsize } = await statfs(existing);
  const kind = fileSystems.get(type);
  const sizeMb = Math.floor((blocks * bsize) / mebibyte);
  const isOversold = resources.disk_mb !== defaultDiskMb && resources.disk_mb > sizeMb;
  return [
    ...(kind === undefined ? [] : [warning(`base_dir: ${existing} is ${kind}`)]),
    ...(isOversold ? [warning(`resources.disk_mb: the file system of base_dir has ${sizeMb} MB`)] : []),
  ];
}

/** What stands for "as much as there is" (docs/protocol/dea.md §2). */
const defaultDiskMb = 16 * 1024 * 1024;

async function checkWritableParent(key: string, path: string): Promise<Finding[]> {
  const parent = dirname(path);
  if (!(await isDirectory(parent))) return [error(`${key}: ${parent} is no directory`)];
  const unwritable = await checkWritable(key, parent);
  return unwritable ? [unwritable] : [];
}

async function checkWritable(key: string, directory: string): Promise<Finding | undefined> {
  try {
    await access(directory, constants.W_OK | constants.X_OK);
    return undefined;
  } catch (cause) {
    return error(`${key}: ${directory} cannot be written to (${(cause as NodeJS.ErrnoException).code})`);
  }
}

function checkStacks({ stacks }: DeaConfig): Finding[] {
  if (stacks.length === 0) return [error('stacks: none is given, so no app can run here')];
  const names = stacks.map(({ name }) => name);
  const twins = names.filter((name, index) => names.indexOf(name) !== index);
  return twins.map((name) => error(`stacks: ${name} is given twice`));
}

async function checkStack(key: string, path: string, kind: EngineKind, baseDirectory: string): Promise<Finding[]> {
  // An image URI is for the engine to fetch; a server of containers may keep its root file systems where we do not see.
  if (!path.startsWith('/')) return [];
  const missing = kind === 'garden' || kind === 'warden' ? warning : error;
  if (!(await isDirectory(path))) return [missing(`${key}.package_path: ${path} is no directory`)];
  // Without isolation there are no users of the stack's.
  if (kind === 'process') return [];
  const users = await readFile(join(path, 'etc/passwd'), 'utf8').catch(() => '');
  const isThere = users.split('\n').some((line) => line.startsWith(`${appUser}:`));
  return [
    ...(isThere ? [] : [error(`${key}.package_path: ${path}/etc/passwd has no user ${appUser}`)]),
    ...(await checkPassage(path, baseDirectory)),
  ];
}

/** Droplets are mounted at their own path: the stack's directories above it must let the app's user through. */
async function checkPassage(rootfs: string, baseDirectory: string): Promise<Finding[]> {
  for (const ancestor of ancestorsOf(baseDirectory)) {
    const mode = await stat(join(rootfs, ancestor)).then(
      (found) => found.mode,
      () => 0o001,
    );
    if ((mode & 0o001) === 0) return [error(`base_dir: lies below ${ancestor}, which apps may not enter`)];
  }
  return [];
}

async function checkBindMount(key: string, path: string): Promise<Finding[]> {
  return (await exists(path)) ? [] : [error(`${key}: ${path} is not there, so no container can be made`)];
}

async function checkHook(key: string, path: string | undefined): Promise<Finding[]> {
  return path === undefined || (await exists(path)) ? [] : [error(`${key}: ${path} is not there`)];
}

function checkMemory({ resources, staging }: DeaConfig): Finding[] {
  const machineMb = Math.floor(totalmem() / mebibyte);
  const capacityMb = resources.memory_mb * resources.memory_overcommit_factor;
  return [
    ...(resources.memory_mb > machineMb
      ? [warning(`resources.memory_mb: this machine has ${machineMb} MB; memory_overcommit_factor is for selling more`)]
      : []),
    ...(staging.enabled && staging.memory_limit_mb > capacityMb
      ? [error('staging.memory_limit_mb: is more than the cell has, so nothing can be staged')]
      : []),
  ];
}

/** `/a`, `/a/b` of `/a/b/c`. */
function ancestorsOf(path: string): string[] {
  const parts = dirname(path).split('/').filter(Boolean);
  return parts.map((_, index) => `/${parts.slice(0, index + 1).join('/')}`);
}

async function nearestExisting(path: string): Promise<string> {
  let candidate = path;
  while (!(await exists(candidate)) && candidate !== dirname(candidate)) candidate = dirname(candidate);
  return candidate;
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

function isDirectory(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

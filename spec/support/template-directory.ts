import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, cp, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const cache = fileURLToPath(new URL('../../.cache/databases/', import.meta.url));

/** Whom a database server runs as, which is never root. */
export interface ServerUser {
  uid?: number;
  gid?: number;
}

/**
 * A data directory that a database server's own program has made: once per version, then copied, as this user's.
 *
 * @param name with the version
 * @param make fills the directory, which is empty and the user's
 */
export async function copyTemplate(
  name: string,
  target: string,
  user: ServerUser,
  make: (directory: string) => Promise<void>,
): Promise<void> {
  const template = join(cache, name);
  await mkdir(cache, { recursive: true });
  if (!(await readdir(cache)).includes(name)) {
    // Under a name of its own until it is complete; of two that are made at once the last one stays.
    const made = await mkdtemp(join('/var/tmp', `${name}-`));
    await own(made, user);
    await make(made);
    const beside = await mkdtemp(join(cache, '.making-'));
    await cp(made, beside, { recursive: true, preserveTimestamps: true });
    await rm(made, { recursive: true });
    await rename(beside, template).catch(() => rm(beside, { recursive: true }));
  }
  await cp(template, target, { recursive: true });
}

/** @throws with what the program printed when it fails */
export async function run(command: string, args: readonly string[], user: ServerUser = {}): Promise<string> {
  // The suite's own directory for such files is not the user's.
  const env = { ...process.env, TMPDIR: '/var/tmp' };
  const child = spawn(command, args, { ...user, env, cwd: '/', stdio: ['ignore', 'pipe', 'pipe'] });
  let printed = '';
  child.stdout.on('data', (chunk) => {
    printed += chunk;
  });
  child.stderr.on('data', (chunk) => {
    printed += chunk;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${command} failed: ${printed}`);
  return printed;
}

/** The account of a server's package, where root would start it; otherwise whoever runs the specs. */
export async function serverUser(account: string): Promise<ServerUser> {
  if (process.getuid?.() !== 0) return {};
  const id = async (flag: string) => Number(await run('id', [flag, account]));
  return { uid: await id('-u'), gid: await id('-g') };
}

async function own(directory: string, { uid, gid }: ServerUser): Promise<void> {
  if (uid !== undefined && gid !== undefined) await chown(directory, uid, gid);
}

import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname, relative } from 'node:path';
import { resolveBeneath } from '../../../files/beneath.js';
import type { ProcessIdentity } from '../../../process/identity.js';
import { toolboxPathInContainer } from '../runtime/bundle-mounts.js';
import type { Account } from '../users/accounts.js';
import { rootOf } from '../users/container-files.js';

/**
 * Runs a static toolbox (busybox) of the host inside a container's mount namespace, so that its root is the
 * container's and no link can lead out of it, and inside its user namespace, so that its root is nobody outside. The
 * toolbox is in none of the container's other namespaces nor in its control group: processes of the container cannot
 * see it, and no limit of theirs stops it.
 */
export class ContainerShell {
  /** @param nsenter absolute path */
  constructor(private readonly nsenter: string) {}

  /** Starts an applet as a user, without supplementary groups. */
  spawn(
    init: ProcessIdentity,
    account: Pick<Account, 'uid' | 'gid'>,
    applet: string[],
    stdio: StdioOptions,
  ): ChildProcess {
    return spawn(
      this.nsenter,
      [
        ...['--target', String(init.pid), '--mount', ...(hasUserNamespace(init) ? ['--user'] : [])],
        ...['--setuid', String(account.uid), '--setgid', String(account.gid)],
        ...['--', toolboxPathInContainer, ...applet],
      ],
      { stdio, cwd: '/', env: { PATH: '/bin', LC_ALL: 'C' } },
    );
  }

  /**
   * Makes a directory and its missing parents, owned by the user and mode 0755, also where the user could not write.
   * Directories that exist are left alone.
   *
   * @returns its path without symbolic links
   */
  async makeDirectory(init: ProcessIdentity, account: Pick<Account, 'uid' | 'gid'>, path: string): Promise<string> {
    const { resolved, missing } = await missingDirectories(init, path);
    if (missing.length === 0) return resolved;
    const script = makeDirectories(account);
    const root = { uid: 0, gid: 0 };
    const shell = this.spawn(
      init,
      root,
      ['sh', '-c', script, toolboxPathInContainer, ...missing],
      ['ignore', 'ignore', 'pipe'],
    );
    await succeeded(shell, `cannot create directory ${path}`);
    return resolved;
  }
}

/**
 * Shell script for paths of directories as arguments, outermost first, and the toolbox as its name. It steps into the
 * parent before anything is made there: a link that its owner puts in the way leads nowhere.
 */
function makeDirectories({ uid, gid }: Pick<Account, 'uid' | 'gid'>): string {
  return `for path do
parent="\${path%/*}"; name="./\${path##*/}"
cd -P "\${parent:-/}" && [ "$PWD" = "\${parent:-/}" ] || { echo "$parent was replaced" >&2; exit 1; }
[ -d "$name" ] || { "$0" mkdir -m 755 "$name" && "$0" chown -h ${uid}:${gid} "$name"; } || exit 1
done`;
}

/** The kernel refuses to enter a user namespace that one is in already. */
function hasUserNamespace(init: ProcessIdentity): boolean {
  return readlinkSync(`/proc/${init.pid}/ns/user`) !== readlinkSync('/proc/self/ns/user');
}

/**
 * Resolves when a child ended with status 0.
 *
 * @param failure what it says of a failure that its status does not tell of
 * @throws with what it said on its error output
 */
export function succeeded(child: ChildProcess, what: string, failure?: RegExp): Promise<void> {
  return new Promise((resolve, reject) => {
    let complaint = '';
    child.stderr?.on('data', (piece: Buffer) => {
      if (complaint.length < 4096) complaint += piece.toString();
    });
    child.on('error', (cause) => reject(new Error(`${what}: ${cause.message}`, { cause })));
    child.on('close', (code, signal) => {
      if (code === 0 && !failure?.test(complaint)) resolve();
      else reject(new Error(`${what}: ${complaint.trim() || (signal ? `ended by ${signal}` : `exit status ${code}`)}`));
    });
  });
}

/** The missing ones of a directory and its parents as paths in the container, outermost first. */
async function missingDirectories(
  init: ProcessIdentity,
  path: string,
): Promise<{ resolved: string; missing: string[] }> {
  const root = rootOf(init);
  const resolved = await resolveBeneath(root, path, 'stays');
  const missing: string[] = [];
  for (let candidate = resolved; candidate !== root; candidate = dirname(candidate)) {
    const isFound = await isDirectory(candidate);
    if (isFound === false) throw new Error(`cannot create directory ${path}: not a directory`);
    if (isFound) break;
    missing.unshift(`/${relative(root, candidate)}`);
  }
  return { resolved: `/${relative(root, resolved)}`, missing };
}

/** Whether a path without symbolic links is a directory; undefined when nothing is there. */
async function isDirectory(path: string): Promise<boolean | undefined> {
  return stat(path).then(
    (status) => status.isDirectory(),
    () => undefined,
  );
}

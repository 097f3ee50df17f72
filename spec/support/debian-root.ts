import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { promisify } from 'node:util';
import { stackRootfs } from './stack.js';

const run = promisify(execFile);

/** What Vagrant leaves out. */
const notInCheckout = ['.git', '.vagrant', 'node_modules', 'dist', 'coverage'];
/** Says that bin/setup has been here. */
const setUpStamp = '.isthmus-setup';

/** Becomes the command in the new root, which is one as after a boot: from a `chroot` there are no user namespaces. */
const enterScript = `set -e
mount --make-rprivate /
mount --bind "$ROOT" "$ROOT"
mount --rbind /dev "$ROOT/dev"
mount --rbind /sys "$ROOT/sys"
mount -t proc proc "$ROOT/proc"
mount --bind "$STACK" "$ROOT/var/lib/isthmus/stacks/bookworm"
cd "$ROOT"
pivot_root . mnt
umount --lazy /mnt
exec "$@"`;

/**
 * A Debian 13 as a box of Vagrant has it, freshly made with debootstrap, in a directory: this checkout is its `/vagrant`.
 * Only what takes minutes and is none of the provisioning's own work is there before: the root filesystem for containers
 * and the npm packages, whose compiled parts fit.
 */
export class DebianRoot {
  private constructor(readonly directory: string) {}

  static async make(): Promise<DebianRoot> {
    const root = new DebianRoot(await mkdtemp(join(tmpdir(), 'debian-')));
    // Packages need no protection from a power failure here, and nobody reads their manuals.
    const options = 'force-unsafe-io\npath-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\n';
    await root.write('etc/dpkg/dpkg.cfg.d/spec', options);
    const args = ['--variant=minbase', '--include=ca-certificates,systemd', 'trixie', root.directory];
    await run('debootstrap', args, { maxBuffer: 16 * 1024 * 1024 });
    await mkdir(root.path('var/lib/isthmus/stacks/bookworm'), { recursive: true });
    await root.write('etc/resolv.conf', await readFile('/etc/resolv.conf', 'utf8'));
    // A copy: nobody's work on the checkout is to change it between two steps.
    await copyTree('.', root.path('vagrant'), (name) => !notInCheckout.includes(name));
    await copyTree(
      await realpath('node_modules'),
      root.path('opt/isthmus/node_modules'),
      (name) => name !== setUpStamp,
    );
    return root;
  }

  path(...names: string[]): string {
    return join(this.directory, ...names);
  }

  async write(name: string, text: string): Promise<void> {
    await mkdir(join(this.path(name), '..'), { recursive: true });
    await writeFile(this.path(name), text);
  }

  /** Starts a program in it, in mount and process namespaces of its own. */
  spawn(command: string[]): ChildProcess {
    const namespaces = ['--mount', '--pid', '--fork', '--kill-child'];
    return spawn('unshare', [...namespaces, 'sh', '-c', enterScript, 'enter', ...command], {
      env: {
        PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        LC_ALL: 'C.UTF-8',
        ROOT: this.directory,
        STACK: stackRootfs(),
        // For spec/support/hooks.ts.
        ISTHMUS_SPEC_RUN: process.env.ISTHMUS_SPEC_RUN,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  /** Runs a program in it to its end, and gives its status and all that it printed. */
  async run(...command: string[]): Promise<{ status: number | null; output: string }> {
    const child = this.spawn(command);
    let output = '';
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.on('data', (chunk: Buffer) => {
        output += chunk.toString();
      });
    }
    const [status] = (await once(child, 'close')) as [number | null];
    return { status, output };
  }

  remove(): Promise<void> {
    return rm(this.directory, { recursive: true });
  }
}

/** Copies a tree without the entries at its top whose names are not accepted. */
function copyTree(from: string, to: string, accept: (name: string) => boolean): Promise<void> {
  const filter = (source: string) => accept(relative(from, source));
  return cp(from, to, { recursive: true, verbatimSymlinks: true, filter });
}

/** Sends a signal to the first process of a namespace that `DebianRoot.spawn` made. */
export async function signalInside(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const children = await readFile(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8');
  process.kill(Number(children.trim()), signal);
}

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { listMounts } from './mounts.js';

/** The kernel falls back to its slow state about 10 ms after a move. */
const intervalMs = 4;

/**
 * Keeps the kernel ready to move processes between control groups while containers are being started.
 *
 * The first move after a pause waits for an RCU grace period, measured here as 8 to 20 ms; moves that follow closely
 * take 0.05 ms. Every start of a container or a process moves one, so this process moves itself to where it is, again
 * and again as long as such a start is under way: the wait passes beside other work. (The mount option `favordynmods`
 * has the same effect, but for the whole host and at the cost of every fork.)
 */
export class MigrationWarmer {
  #users = 0;
  #warming: Promise<void> | undefined;
  /** `cgroup.procs` of the group that this process is in; undefined when it cannot be told. */
  #ownGroup: Promise<string | undefined> | undefined;

  /** Does the work while moves are kept quick. */
  async during<Result>(work: () => Promise<Result>): Promise<Result> {
    this.#users += 1;
    this.#warming ??= this.#warm().finally(() => {
      this.#warming = undefined;
    });
    try {
      return await work();
    } finally {
      this.#users -= 1;
    }
  }

  /** Resolves when no move of its own is under way. */
  async stop(): Promise<void> {
    await this.#warming;
  }

  async #warm(): Promise<void> {
    this.#ownGroup ??= findOwnGroup();
    const path = await this.#ownGroup;
    if (path === undefined) return;
    while (this.#users > 0) {
      // A group that does not take it costs only the speed.
      await writeFile(path, '0', { flag: 'r+' }).catch(() => {});
      await sleep(intervalMs, undefined, { ref: false });
    }
  }
}

/** v1: the group in the memory hierarchy; v2: the group in the only one. */
async function findOwnGroup(): Promise<string | undefined> {
  const lines = (await readFile('/proc/self/cgroup', 'utf8')).split('\n').map((line) => line.split(':'));
  const mounts = await listMounts();
  const memory = lines.find(([, controllers]) => controllers?.split(',').includes('memory'));
  const mount = memory
    ? mounts.find(({ fileSystem, options }) => fileSystem === 'cgroup' && options.includes('memory'))
    : mounts.find(({ fileSystem }) => fileSystem === 'cgroup2');
  const group = (memory ?? lines.find(([hierarchy]) => hierarchy === '0'))?.slice(2).join(':');
  return mount && group !== undefined ? join(mount.path, group, 'cgroup.procs') : undefined;
}

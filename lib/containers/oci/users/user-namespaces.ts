import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { HostRequirementError } from '../../errors.js';
import { findProgram } from '../host-tools.js';
import { type IdMap, type IdRange, mappingsOf, ownIds } from './id-map.js';

/** What the kernel must allow a namespace to be made and told of. */
const openingLimitMs = 10_000;

/**
 * User namespaces of unprivileged containers, each with a network namespace that it owns: root of the container then
 * has its capabilities over the container's network (raw sockets, low ports), sysfs can be mounted afresh, and a
 * runtime that enters the user namespace first may enter the network namespace afterwards.
 *
 * A pair is made before its container, so that the network can be prepared, and is kept by a process that does nothing:
 *
 *   open ---> kept by a holder ---> close (the container's init keeps the pair now, or nobody does)
 *
 * Holders end with the engine, however it ends: they read from a pipe of its own.
 */
export class UserNamespaces {
  readonly #holders = new Map<string, ChildProcessWithoutNullStreams>();
  #isEnabled = false;
  #programs: { unshare: string; cat: string } | undefined;

  /** @param idMap of all that are made */
  constructor(readonly idMap: IdMap = ownIds) {}

  /**
   * Makes one and gives it up again; from then on they are made.
   *
   * @throws HostRequirementError telling why not
   */
  async enable(): Promise<void> {
    const name = `probe-${process.pid}`;
    this.#isEnabled = true;
    try {
      await this.open(name);
    } catch (cause) {
      this.#isEnabled = false;
      if (cause instanceof HostRequirementError) throw cause;
      throw new HostRequirementError(`this host makes no user namespaces: ${(cause as Error).message}`, { cause });
    } finally {
      this.close(name);
    }
  }

  /**
   * Makes a user namespace and a network namespace that belongs to it.
   *
   * @returns number of the process that keeps both; undefined, and nothing is made, unless `enable` has succeeded
   */
  async open(name: string): Promise<number | undefined> {
    if (!this.#isEnabled) return undefined;
    const { unshare, cat } = await this.#findPrograms();
    const holder = spawn(unshare, ['--user', '--net', cat], { cwd: '/', stdio: 'pipe', env: { LC_ALL: 'C' } });
    this.#holders.set(name, holder);
    try {
      await untilItRuns(holder);
      const pid = holder.pid!;
      await writeFile(`/proc/${pid}/uid_map`, tableOf(this.idMap.users));
      await writeFile(`/proc/${pid}/gid_map`, tableOf(this.idMap.groups));
      letRun(holder);
      return pid;
    } catch (error) {
      this.close(name);
      throw error;
    }
  }

  /** Path by which a runtime enters an open user namespace; undefined when there is none of that name. */
  pathOf(name: string): string | undefined {
    const pid = this.#holders.get(name)?.pid;
    return pid === undefined ? undefined : `/proc/${pid}/ns/user`;
  }

  /** Lets go of a pair; it lives on with the processes in it and with the files that it was bound to. Idempotent. */
  close(name: string): void {
    const holder = this.#holders.get(name);
    this.#holders.delete(name);
    holder?.kill('SIGKILL');
  }

  /** Lets go of all. Idempotent. */
  async stop(): Promise<void> {
    const holders = [...this.#holders];
    await Promise.all(
      holders.map(async ([name, holder]) => {
        const hasEnded = holder.exitCode !== null || holder.signalCode !== null;
        const exited = hasEnded ? undefined : once(holder, 'exit');
        holder.ref();
        this.close(name);
        await exited;
      }),
    );
  }

  async #findPrograms(): Promise<{ unshare: string; cat: string }> {
    if (this.#programs) return this.#programs;
    const [unshare, cat] = await Promise.all([findProgram('unshare'), findProgram('cat')]);
    if (unshare === undefined) throw new HostRequirementError('unshare is missing: apt-get install util-linux');
    if (cat === undefined) throw new HostRequirementError('cat is missing: apt-get install coreutils');
    this.#programs = { unshare, cat };
    return this.#programs;
  }
}

function tableOf(range: IdRange): string {
  return mappingsOf(range)
    .map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}\n`)
    .join('');
}

/** It echoes what it is given, once it is in its namespaces. */
function untilItRuns(holder: ChildProcessWithoutNullStreams): Promise<void> {
  return new Promise((resolve, reject) => {
    let complaint = '';
    const timer = setTimeout(() => reject(new Error('unshare does not answer')), openingLimitMs);
    const settle = (error?: Error) => {
      clearTimeout(timer);
      if (error) reject(error);
      else resolve();
    };
    holder.stderr.on('data', (piece: Buffer) => {
      complaint = (complaint + piece.toString()).slice(-1024);
    });
    holder.on('error', settle);
    holder.on('close', (code) => settle(new Error(complaint.trim() || `unshare ended with status ${code}`)));
    holder.stdout.once('data', () => settle());
    // It may end before it reads; then its own words count.
    holder.stdin.on('error', () => {});
    holder.stdin.write('\n');
  });
}

/** Alone it keeps nobody from ending. */
function letRun(holder: ChildProcessWithoutNullStreams): void {
  holder.unref();
  for (const stream of [holder.stdin, holder.stdout, holder.stderr]) {
    if ('unref' in stream && typeof stream.unref === 'function') stream.unref();
  }
}

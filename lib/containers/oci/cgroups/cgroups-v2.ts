import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { errorData, type Logger } from '../../../logging/logger.js';
import { InvalidSpecError } from '../../errors.js';
import type { CgroupLimits, CgroupPlace, CgroupStats, Cgroups } from '../ports.js';
import { cpuQuotaOf } from './cpu-quota.js';
import {
  childGroups,
  groupNames,
  isGone,
  processesIn,
  readGroupFile,
  readGroupFileOr,
  removeGroup,
  writeGroupFile,
} from './groups.js';
import { type Freezer, signalGroup } from './signals.js';
import { cpuFromV2, cpuWeight, memoryFromV2, parseFlatKeyed, parseLimit } from './stats.js';

const neededControllers = ['cpu', 'memory', 'pids'];
const usefulControllers = ['cpuset', 'io'];
/** Where the processes of a group are; no process has this id, and so no pea. */
const leafName = '@processes';
const freezeLimitMs = 500;
const freezePollMs = 1;

export interface CgroupsV2Options {
  /** Path of the engine's parent group: `/isthmus-<tag>`. */
  parent: string;
  /** Mount point of the unified hierarchy. */
  root: string;
  /** See `CgroupsOptions`. */
  cpuQuotaPerShareUs?: number;
  logger: Logger;
}

/** Control groups version 2: one unified hierarchy. */
export class CgroupsV2 implements Cgroups {
  readonly version = 2;
  readonly #parent: string;
  readonly #root: string;
  readonly #logger: Logger;
  readonly #cpuQuotaPerShareUs: number | undefined;
  #limitsSwap = false;

  constructor({ parent, root, cpuQuotaPerShareUs, logger }: CgroupsV2Options) {
    this.#parent = parent;
    this.#root = root;
    this.#logger = logger;
    this.#cpuQuotaPerShareUs = cpuQuotaPerShareUs;
  }

  get limitsSwap(): boolean {
    return this.#limitsSwap;
  }

  async start(): Promise<void> {
    const parent = join(this.#root, this.#parent);
    await mkdir(parent, { recursive: true });
    await this.#delegate(this.#root);
    await this.#delegate(parent);
    this.#limitsSwap = readGroupFileOr(parent, 'memory.swap.max', '') !== '';
    for (const group of childGroups(parent)) {
      // An engine that was killed amid `signalAll` leaves a frozen group behind.
      if (readGroupFileOr(group, 'cgroup.freeze', '0').trim() !== '0') await freezerOf(group).thaw();
    }
  }

  /**
   * Groups that have others below them must have no processes. A container's has those of its peas: so it carries the
   * limits, and its own processes are in a leaf below it, which has none (docs/protocol/containers.md §4.8).
   */
  async place(handle: string, limits: CgroupLimits): Promise<CgroupPlace> {
    const group = this.#group(handle);
    await mkdir(group, { recursive: true });
    await this.#delegate(group);
    await this.limit(handle, limits);
    return { path: `${this.#parent}/${handle}/${leafName}`, limits: {} };
  }

  async processes(handle: string): Promise<number[]> {
    return processesIn(this.#group(handle));
  }

  async stats(handle: string): Promise<CgroupStats> {
    const group = this.#group(handle);
    return {
      memory: memoryFromV2({
        stat: readGroupFile(group, 'memory.stat'),
        max: readGroupFile(group, 'memory.max'),
        swapCurrent: readGroupFileOr(group, 'memory.swap.current', '0'),
        swapMax: readGroupFileOr(group, 'memory.swap.max', '0'),
      }),
      cpu: cpuFromV2(readGroupFile(group, 'cpu.stat')),
      pids: {
        current: Number(readGroupFile(group, 'pids.current')),
        max: parseLimit(readGroupFile(group, 'pids.max')),
      },
      oomKills: await this.oomKills(handle),
    };
  }

  /** The kernel counts for a group what was killed in those below, too: peas are counted by themselves. */
  async oomKills(handle: string): Promise<number> {
    const group = this.#group(handle);
    // Containers of engines before this one have no leaf.
    const ofAll = () => readGroupFileOr(group, 'memory.events', '');
    const events = readGroupFileOr(join(group, leafName), 'memory.events', '') || ofAll();
    return parseFlatKeyed(events).get('oom_kill') ?? 0;
  }

  async limit(handle: string, limits: CgroupLimits): Promise<void> {
    const { memoryBytes, cpuShares, maxPids } = limits;
    const write = (file: string, value: string) => writeGroupFile(this.#group(handle), file, value);
    if (memoryBytes !== undefined) {
      this.#checkMemoryInUse(handle, memoryBytes);
      await write('memory.max', memoryBytes > 0 ? String(memoryBytes) : 'max');
      // Memory and swap together are limited to the same number: nothing is left for swap.
      if (this.#limitsSwap) await write('memory.swap.max', memoryBytes > 0 ? '0' : 'max');
    }
    if (cpuShares !== undefined) {
      await write('cpu.weight', String(cpuWeight(cpuShares)));
      const bandwidth = cpuQuotaOf(cpuShares, this.#cpuQuotaPerShareUs);
      if (bandwidth) await write('cpu.max', `${bandwidth.quota} ${bandwidth.period}`);
    }
    if (maxPids !== undefined) await write('pids.max', maxPids > 0 ? String(maxPids) : 'max');
  }

  async signalAll(handle: string, signal: NodeJS.Signals, except: number[]): Promise<void> {
    const group = this.#group(handle);
    if (signal === 'SIGKILL' && except.length === 0 && (await killGroup(group))) return;
    await signalGroup(group, signal, except, freezerOf(group));
  }

  async remove(handle: string): Promise<void> {
    await removeGroup(this.#group(handle));
  }

  async list(): Promise<string[]> {
    return groupNames(join(this.#root, this.#parent));
  }

  async teardown(): Promise<void> {
    if ((await this.list()).length > 0) return;
    await removeGroup(join(this.#root, this.#parent));
  }

  /** Where version 1 refuses a limit below what is in use, version 2 would kill. Without swap these two must stay. */
  #checkMemoryInUse(handle: string, memoryBytes: number): void {
    const values = parseFlatKeyed(readGroupFileOr(this.#group(handle), 'memory.stat', ''));
    if (memoryBytes <= 0 || (values.get('anon') ?? 0) + (values.get('shmem') ?? 0) <= memoryBytes) return;
    throw new InvalidSpecError(`limits.memoryBytes: more than ${memoryBytes} bytes are in use`);
  }

  #group(handle: string): string {
    return `${this.#root}${this.#parent}/${handle}`;
  }

  /** Lets the groups below one use the controllers. They stay delegated: other groups may use them by then. */
  async #delegate(group: string): Promise<void> {
    const available = readGroupFile(group, 'cgroup.controllers').trim().split(/\s+/);
    const enabled = readGroupFile(group, 'cgroup.subtree_control').trim().split(/\s+/);
    const missing = neededControllers.filter((controller) => !available.includes(controller));
    if (missing.length > 0) {
      throw new Error(`cgroup controllers ${missing.join(', ')} are not available in ${group}`);
    }
    const wanted = [...neededControllers, ...usefulControllers].filter(
      (controller) => available.includes(controller) && !enabled.includes(controller),
    );
    if (wanted.length === 0) return;
    const request = wanted.map((controller) => `+${controller}`).join(' ');
    try {
      await writeGroupFile(group, 'cgroup.subtree_control', request);
    } catch (error) {
      const isBusy = error instanceof Error && 'code' in error && error.code === 'EBUSY';
      if (!isBusy) throw error;
      // In a container's view the root holds processes, this one among them; only leaves may.
      this.#logger.info('moving processes out of the root control group', errorData(error));
      await moveProcessesAway(group);
      await writeGroupFile(group, 'cgroup.subtree_control', request);
    }
  }
}

/** Moves all processes of a group into a leaf below it. */
async function moveProcessesAway(group: string): Promise<void> {
  const leaf = join(group, 'init');
  await mkdir(leaf, { recursive: true });
  const pids = readGroupFile(group, 'cgroup.procs').split('\n').filter(Boolean);
  for (const pid of pids) {
    await writeGroupFile(leaf, 'cgroup.procs', pid).catch((error: NodeJS.ErrnoException) => {
      // It ended meanwhile.
      if (error.code !== 'ESRCH') throw error;
    });
  }
}

/** Lets the kernel kill all at once; false before Linux 5.14. A group that is gone has nobody to kill. */
async function killGroup(group: string): Promise<boolean> {
  try {
    await writeGroupFile(group, 'cgroup.kill', '1');
    return true;
  } catch (error) {
    if (!isGone(error)) throw error;
    return readGroupFileOr(group, 'cgroup.procs', '') === '';
  }
}

function freezerOf(group: string): Freezer {
  return {
    async freeze() {
      await writeGroupFile(group, 'cgroup.freeze', '1');
      const giveUpAt = Date.now() + freezeLimitMs;
      while (parseFlatKeyed(readGroupFileOr(group, 'cgroup.events', 'frozen 1')).get('frozen') !== 1) {
        if (Date.now() > giveUpAt) throw new Error(`${group} does not freeze`);
        await delay(freezePollMs);
      }
    },
    async thaw() {
      await writeGroupFile(group, 'cgroup.freeze', '0').catch((error: unknown) => {
        if (!isGone(error)) throw error;
      });
    },
  };
}

import { mkdir, readFile, rmdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { errorData, type Logger } from '../../../logging/logger.js';
import { InvalidSpecError } from '../../errors.js';
import { type MountPoint, mountCgroupController, unmount } from '../mounts.js';
import type { CgroupLimits, CgroupPlace, CgroupStats, Cgroups } from '../ports.js';
import { type CpuQuota, cpuQuotaOf } from './cpu-quota.js';
import {
  childGroups,
  groupNames,
  isGone,
  processesIn,
  readGroupFile,
  readGroupFileOr,
  removeGroup,
  unlessGone,
  writeGroupFile,
} from './groups.js';
import { controllersToMount, findHierarchies, type Hierarchies, ownMountSource } from './hierarchies.js';
import { type Freezer, signalGroup } from './signals.js';
import { cpuFromV1, memoryFromV1, parseFlatKeyed, parseLimit } from './stats.js';

const freezeLimitMs = 500;
const freezePollMs = 1;

type HierarchiesV1 = Hierarchies & { version: 1 };

export interface CgroupsV1Options {
  /** Path of the engine's parent group in every hierarchy: `/isthmus-<tag>`. */
  parent: string;
  hierarchies: HierarchiesV1;
  /** Mounts of the host, now. */
  mounts: () => MountPoint[];
  /** See `CgroupsOptions`. */
  cpuQuotaPerShareUs?: number;
  logger: Logger;
}

/** Control groups version 1: a hierarchy per controller, and on hybrid hosts a cgroup2 mount beside them. */
export class CgroupsV1 implements Cgroups {
  readonly version = 1;
  readonly #parent: string;
  readonly #mounts: () => MountPoint[];
  readonly #logger: Logger;
  readonly #cpuQuotaPerShareUs: number | undefined;
  #hierarchies: HierarchiesV1;
  #limitsSwap = false;

  constructor({ parent, hierarchies, mounts, cpuQuotaPerShareUs, logger }: CgroupsV1Options) {
    this.#parent = parent;
    this.#hierarchies = hierarchies;
    this.#mounts = mounts;
    this.#logger = logger;
    this.#cpuQuotaPerShareUs = cpuQuotaPerShareUs;
  }

  get limitsSwap(): boolean {
    return this.#limitsSwap;
  }

  async start(): Promise<void> {
    await this.#mountLeftControllers();
    this.#readMounts();
    await this.#claimOwnMounts();
    const memory = join(this.#mountOf('memory'), this.#parent);
    await mkdir(memory, { recursive: true });
    this.#limitsSwap = readGroupFileOr(memory, 'memory.memsw.limit_in_bytes', '') !== '';
    await this.#thawAll();
  }

  /** The runtime makes the group and limits it: nothing needs to be written to it afterwards. */
  async place(handle: string, { memoryBytes, cpuShares, maxPids }: CgroupLimits): Promise<CgroupPlace> {
    const cpuQuota = cpuShares === undefined ? undefined : this.#cpuQuota(cpuShares);
    return {
      path: `${this.#parent}/${handle}`,
      limits: {
        ...(memoryBytes !== undefined && { memoryBytes }),
        ...(cpuShares !== undefined && { cpuShares }),
        ...(maxPids !== undefined && { maxPids }),
      },
      ...(cpuQuota && { cpuQuota }),
    };
  }

  async processes(handle: string): Promise<number[]> {
    return processesIn(this.#group('memory', handle));
  }

  async stats(handle: string): Promise<CgroupStats> {
    const pids = this.#optionalGroup('pids', handle);
    const cpuacct = this.#group('cpuacct', handle);
    return {
      memory: memoryFromV1(readGroupFile(this.#group('memory', handle), 'memory.stat')),
      cpu: cpuFromV1(readGroupFile(cpuacct, 'cpuacct.usage'), readGroupFile(cpuacct, 'cpuacct.stat')),
      pids: {
        current: pids === undefined ? 0 : Number(readGroupFile(pids, 'pids.current')),
        max: pids === undefined ? 0 : parseLimit(readGroupFile(pids, 'pids.max')),
      },
      oomKills: await this.oomKills(handle),
    };
  }

  async oomKills(handle: string): Promise<number> {
    const text = readGroupFileOr(this.#group('memory', handle), 'memory.oom_control', '');
    return parseFlatKeyed(text).get('oom_kill') ?? 0;
  }

  async limit(handle: string, limits: CgroupLimits): Promise<void> {
    const { memoryBytes, cpuShares, maxPids } = limits;
    if (memoryBytes !== undefined) await this.#limitMemory(handle, memoryBytes);
    if (cpuShares !== undefined) await this.#limitCpu(handle, cpuShares);
    if (maxPids !== undefined) {
      await writeGroupFile(this.#group('pids', handle), 'pids.max', maxPids > 0 ? String(maxPids) : 'max');
    }
  }

  async signalAll(handle: string, signal: NodeJS.Signals, except: number[]): Promise<void> {
    const group = this.#optionalGroup('freezer', handle) ?? this.#group('memory', handle);
    await signalGroup(group, signal, except, freezerOf(group));
  }

  async remove(handle: string): Promise<void> {
    await Promise.all(this.#hierarchies.all.map((mount) => removeGroup(join(mount, this.#parent, handle))));
  }

  async list(): Promise<string[]> {
    const names = await Promise.all(this.#hierarchies.all.map((mount) => groupNames(join(mount, this.#parent))));
    return [...new Set(names.flat())];
  }

  async teardown(): Promise<void> {
    if ((await this.list()).length > 0) return;
    await Promise.all(this.#hierarchies.all.map((mount) => removeGroup(join(mount, this.#parent))));
    for (const mount of this.#ownMounts()) await this.#giveUpMount(mount);
  }

  /**
   * crun refuses a hybrid host whose cgroup2 mount still has controllers. A controller that is mounted as a v1
   * hierarchy leaves cgroup2, so those that nobody has mounted are mounted here.
   */
  async #mountLeftControllers(): Promise<void> {
    const { unified } = this.#hierarchies;
    if (unified === undefined) return;
    const left = controllersToMount(await readFile(join(unified, 'cgroup.controllers'), 'utf8'));
    for (const controller of left) {
      const target = join(dirname(unified), controller);
      try {
        await mkdir(target, { recursive: true });
        await mountCgroupController(controller, ownMountSource, target);
        this.#logger.info('mounted a cgroup controller', { controller, target });
      } catch (error) {
        // Another engine may be faster, or groups of cgroup2 use the controller: the runtime's own check decides.
        this.#logger.warn('cannot mount a cgroup controller', { controller, target, ...errorData(error) });
      }
    }
  }

  #readMounts(): void {
    const hierarchies = findHierarchies(this.#mounts());
    if (hierarchies?.version === 1) this.#hierarchies = hierarchies;
  }

  /** A group in each hierarchy that an engine has mounted tells the others that it is still needed. */
  async #claimOwnMounts(): Promise<void> {
    for (const mount of this.#ownMounts()) await mkdir(join(mount, this.#parent), { recursive: true });
  }

  #ownMounts(): string[] {
    return this.#mounts()
      .filter((mount) => mount.fileSystem === 'cgroup' && mount.source === ownMountSource)
      .map((mount) => mount.path);
  }

  async #giveUpMount(mount: string): Promise<void> {
    const users = childGroups(mount).map((group) => basename(group));
    if (users.length > 0) {
      this.#logger.info('a cgroup controller stays mounted for others', { mount, users });
      return;
    }
    await unmount([mount]);
    await rmdir(mount);
  }

  #cpuQuota(shares: number): CpuQuota | undefined {
    return cpuQuotaOf(shares, this.#cpuQuotaPerShareUs);
  }

  async #limitCpu(handle: string, shares: number): Promise<void> {
    const group = this.#group('cpu', handle);
    await writeGroupFile(group, 'cpu.shares', String(shares));
    const bandwidth = this.#cpuQuota(shares);
    if (!bandwidth) return;
    await writeGroupFile(group, 'cpu.cfs_period_us', String(bandwidth.period));
    await writeGroupFile(group, 'cpu.cfs_quota_us', String(bandwidth.quota));
  }

  /** Order matters: memory must never be above memory and swap together. */
  async #limitMemory(handle: string, memoryBytes: number): Promise<void> {
    const group = this.#group('memory', handle);
    const memory = 'memory.limit_in_bytes';
    const both = 'memory.memsw.limit_in_bytes';
    // 0 stands for none.
    const value = memoryBytes > 0 ? String(memoryBytes) : '-1';
    if (!this.#limitsSwap) return writeGroupFile(group, memory, value);
    const isRaise = memoryBytes <= 0 || memoryBytes > Number(readGroupFile(group, both));
    const before = readGroupFile(group, memory).trim();
    const [first, second] = isRaise ? [both, memory] : [memory, both];
    await writeMemoryLimit(group, first, value);
    try {
      await writeMemoryLimit(group, second, value);
    } catch (error) {
      // Swap holds what memory had to give up: back to where it was.
      if (!isRaise) await writeGroupFile(group, memory, before);
      throw error;
    }
  }

  /** An engine that was killed amid `signalAll` leaves a frozen group behind. */
  async #thawAll(): Promise<void> {
    const freezer = this.#hierarchies.controllers.get('freezer');
    if (freezer === undefined) return;
    for (const group of childGroups(join(freezer, this.#parent))) {
      if (readGroupFileOr(group, 'freezer.state', 'THAWED').trim() !== 'THAWED') await freezerOf(group).thaw();
    }
  }

  #group(controller: string, handle: string): string {
    return `${this.#mountOf(controller)}${this.#parent}/${handle}`;
  }

  #optionalGroup(controller: string, handle: string): string | undefined {
    return this.#hierarchies.controllers.has(controller) ? this.#group(controller, handle) : undefined;
  }

  #mountOf(controller: string): string {
    const mount = this.#hierarchies.controllers.get(controller);
    if (mount === undefined) throw new Error(`the cgroup controller ${controller} is not mounted`);
    return mount;
  }
}

/** @throws InvalidSpecError when the group uses more, and the kernel cannot take it back */
async function writeMemoryLimit(group: string, file: string, value: string): Promise<void> {
  await writeGroupFile(group, file, value).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'EBUSY') throw cause;
    throw new InvalidSpecError(`limits.memoryBytes: more than ${value} bytes are in use`, { cause });
  });
}

function freezerOf(group: string): Freezer {
  return {
    async freeze() {
      const giveUpAt = Date.now() + freezeLimitMs;
      for (;;) {
        // Written anew each time: processes that were forked meanwhile are frozen by that.
        await writeGroupFile(group, 'freezer.state', 'FROZEN');
        if (unlessGone(() => readGroupFile(group, 'freezer.state'), 'FROZEN').trim() === 'FROZEN') return;
        if (Date.now() > giveUpAt) throw new Error(`${group} does not freeze`);
        await delay(freezePollMs);
      }
    },
    async thaw() {
      await writeGroupFile(group, 'freezer.state', 'THAWED').catch((error: unknown) => {
        if (!isGone(error)) throw error;
      });
    },
  };
}

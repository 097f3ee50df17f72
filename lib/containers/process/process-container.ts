import { randomUUID } from 'node:crypto';
import { access, constants, mkdir, readdir, rename, stat } from 'node:fs/promises';
import { basename, isAbsolute, join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { errorData, type Logger } from '../../logging/logger.js';
import type { ProcessEntry } from '../../process/marked-processes.js';
import type {
  Container,
  ContainerEvent,
  ContainerInfo,
  ContainerMetrics,
  ContainerProcess,
  Limits,
  NetOutRule,
  PortMapping,
  ProcessIO,
  ProcessSpec,
  Properties,
  RlimitSpec,
  StopOptions,
} from '../engine.js';
import {
  ExecutableNotFoundError,
  InvalidSpecError,
  ProcessIdInUseError,
  UnknownHandleError,
  UnknownProcessError,
  UnknownPropertyError,
} from '../errors.js';
import { type ContainerRecord, writeRecord } from './container-record.js';
import { bindMountAt, type ContainerTree, hostPath, removeTree } from './container-tree.js';
import { diskUsage } from './disk-usage.js';
import { GraceTimer } from './grace-timer.js';
import type { HostPorts } from './host-ports.js';
import {
  checkLimits,
  checkProcessId,
  checkProcessSpec,
  homeOf,
  processEnvironment,
  rlimitArguments,
} from './process-plan.js';
import { endProcesses, killProcesses } from './process-reaper.js';
import { processesByContainer } from './process-table.js';
import { SupervisedProcess } from './supervised-process.js';
import type { TarStreams } from './tar-streams.js';
import type { WrapperTools } from './wrapper.js';

/** What all containers of an engine share. */
export interface ContainerContext {
  ports: HostPorts;
  tars: TarStreams;
  tools: WrapperTools;
  /** PATH of processes that are given none. */
  searchPath: string;
  /** Limits that the engine cannot raise for its children. */
  ceilings: RlimitSpec;
  logger: Logger;
  /** Called when nobody has referred to the container for its grace time. */
  onUnused: (handle: string) => void;
}

const loopback = '127.0.0.1';
const stopGraceTimeMs = 10_000;
/** How many ended processes keep their output; of a container that runs one after the other, the oldest go. */
const keptProcesses = 64;

/** A container without isolation: a directory, a record of what was asked for, and processes that know of it. */
export class ProcessContainer implements Container {
  readonly handle: string;
  private readonly processes = new Map<string, SupervisedProcess>();
  /** Starts that are under way, by the id of the process. */
  private readonly starting = new Map<string, Promise<SupervisedProcess>>();
  private readonly listeners = new Set<(event: ContainerEvent) => void>();
  private readonly graceTimer: GraceTimer;
  private readonly tree: ContainerTree;
  private readonly logger: Logger;
  private writing: Promise<void> = Promise.resolve();
  private highestCpuNs = 0;
  private stopping: Promise<void> | undefined;

  constructor(
    /** Directory of the container on the host; the tree is its `rootfs`. */
    readonly directory: string,
    private record: ContainerRecord,
    private readonly context: ContainerContext,
  ) {
    this.handle = record.handle;
    this.tree = { root: join(directory, 'rootfs'), bindMounts: record.bindMounts };
    this.logger = context.logger.child({ handle: record.handle });
    this.graceTimer = new GraceTimer(() => context.onUnused(record.handle));
    this.graceTimer.set(record.graceTimeMs);
  }

  get phase(): ContainerRecord['phase'] {
    return this.record.phase;
  }

  get memoryLimitBytes(): number | undefined {
    return this.record.limits.memoryBytes;
  }

  get mappedPorts(): PortMapping[] {
    return this.record.mappedPorts;
  }

  hasProperties(wanted: Properties): boolean {
    return Object.entries(wanted).every(([name, value]) => this.record.properties[name] === value);
  }

  get hasLiveProcesses(): boolean {
    return [...this.processes.values()].some(({ isAlive }) => isAlive);
  }

  /** Takes over the processes that an earlier engine started. */
  async recoverProcesses(): Promise<void> {
    const ids = await readdir(this.processesDirectory).catch(() => []);
    for (const id of ids) {
      const process = await SupervisedProcess.recover(id, join(this.processesDirectory, id));
      this.processes.set(id, process);
      this.countCpuAtExit(process);
    }
  }

  async run(spec: ProcessSpec, io: ProcessIO = {}): Promise<ContainerProcess> {
    return this.referred(async () => {
      if (this.record.phase !== 'active') {
        throw new InvalidSpecError(`Container state must be one of 'active', current state is '${this.record.phase}'`);
      }
      checkProcessSpec(spec);
      const id = checkProcessId(spec.id ?? randomUUID());
      if (this.processes.has(id) || this.starting.has(id)) throw new ProcessIdInUseError(id);
      const starting = this.start(id, spec, io);
      this.starting.set(id, starting);
      try {
        const process = await starting;
        this.processes.set(id, process);
        this.countCpuAtExit(process);
        await this.forgetOldProcesses();
        return this.tracked(await process.join(io));
      } finally {
        this.starting.delete(id);
      }
    });
  }

  async attach(processId: string, io: ProcessIO = {}): Promise<ContainerProcess> {
    return this.referred(async () => {
      const process = this.processes.get(processId);
      if (!process) throw new UnknownProcessError(processId);
      if (io.stdin !== undefined) await process.feed(io.stdin instanceof Readable ? io.stdin : asStream(io.stdin));
      return this.tracked(await process.join(io));
    });
  }

  async streamIn({ path, user, tar }: { path: string; user?: string; tar: Readable }): Promise<void> {
    // It may fail before it is read, which must not end the program.
    tar.on('error', () => {});
    return this.referred(async () => {
      const target = this.absolute(path, user);
      if (bindMountAt(this.tree, target)?.mode === 'ro') throw new Error(`error streaming in: ${path} is read-only`);
      await this.context.tars.extract(tar, await hostPath(this.tree, target));
    });
  }

  async streamOut({ path, user }: { path: string; user?: string }): Promise<Readable> {
    return this.referred(async () => {
      const source = this.absolute(path, user);
      const isContentOnly = path.endsWith('/');
      return this.context.tars.archive({
        path: await hostPath(this.tree, source),
        name: basename(source),
        isContentOnly,
      });
    });
  }

  /** The container's port is the host's: without a network of its own there is no other. */
  async netIn(request: { hostPort?: number; containerPort?: number } = {}): Promise<PortMapping> {
    return this.referred(async () => {
      const hostPort = request.hostPort ?? (await this.context.ports.acquire());
      this.context.ports.reserve(hostPort);
      const mapping = { hostPort, containerPort: hostPort };
      await this.update((record) => ({ ...record, mappedPorts: [...record.mappedPorts, mapping] }));
      return mapping;
    });
  }

  /** Accepted; nothing is enforced. */
  async netOut(_rules: NetOutRule[]): Promise<void> {
    this.refer();
  }

  async limit(limits: Limits): Promise<void> {
    return this.referred(async () => {
      checkLimits(limits);
      await this.update((record) => ({
        ...record,
        limits: {
          ...record.limits,
          ...limits,
          ...(limits.disk && { disk: { ...record.limits.disk, ...limits.disk } }),
        },
      }));
    });
  }

  async limits(): Promise<Limits> {
    this.refer();
    return structuredClone(this.record.limits);
  }

  async info(): Promise<ContainerInfo> {
    this.refer();
    const { phase, events, properties, mappedPorts } = this.record;
    return {
      state: phase === 'active' ? 'active' : 'stopped',
      events: [...events],
      hostIp: loopback,
      containerIp: loopback,
      externalIp: loopback,
      containerPath: this.directory,
      processIds: [...this.processes.values()].filter(({ isAlive }) => isAlive).map(({ id }) => id),
      properties: { ...properties },
      mappedPorts: structuredClone(mappedPorts),
    };
  }

  async metrics(): Promise<ContainerMetrics> {
    this.refer();
    const [members, disk] = await Promise.all([this.members(), diskUsage(this.tree.root)]);
    const rssBytes = sum(members, ({ rssBytes }) => rssBytes);
    // A daemon's time is lost when it ends; the counter must not run backwards for that.
    this.highestCpuNs = Math.max(this.highestCpuNs, this.record.endedCpuNs + sum(members, ({ cpuNs }) => cpuNs));
    return {
      memory: { usageBytes: rssBytes, rssBytes, cacheBytes: 0, inactiveFileBytes: 0, swapBytes: 0, counters: {} },
      cpu: { usageNs: this.highestCpuNs },
      disk,
      imageBytes: 0,
      pids: { current: sum(members, ({ threads }) => threads), max: this.record.limits.maxPids ?? 0 },
      ageMs: Date.now() - this.record.createdAtMs,
    };
  }

  async properties(): Promise<Properties> {
    this.refer();
    return { ...this.record.properties };
  }

  async setProperty(name: string, value: string): Promise<void> {
    return this.referred(() =>
      this.update((record) => ({ ...record, properties: { ...record.properties, [name]: value } })),
    );
  }

  async removeProperty(name: string): Promise<void> {
    return this.referred(async () => {
      if (!Object.hasOwn(this.record.properties, name)) throw new UnknownPropertyError(name);
      await this.update((record) => {
        const { [name]: _removed, ...properties } = record.properties;
        return { ...record, properties };
      });
    });
  }

  async setGraceTime(graceTimeMs: number): Promise<void> {
    this.refer();
    this.graceTimer.set(graceTimeMs);
    await this.update((record) => ({ ...record, graceTimeMs }));
  }

  async stop(options: StopOptions = {}): Promise<void> {
    return this.referred(async () => {
      if (this.record.phase === 'active') await this.update((record) => ({ ...record, phase: 'stopped' }));
      const { kill = false, graceTimeMs = stopGraceTimeMs } = options;
      if (kill) return this.endAll(0);
      this.stopping ??= this.endAll(graceTimeMs).finally(() => {
        this.stopping = undefined;
      });
      return this.stopping;
    });
  }

  onEvent(listener: (event: ContainerEvent) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Counts as being referred to: the grace time begins anew. @throws UnknownHandleError once it is being destroyed */
  refer(): void {
    if (this.record.phase === 'destroying') throw new UnknownHandleError(this.handle);
    this.graceTimer.restart();
  }

  /** Writes the event down, then kills all processes: who learns of the exit finds the event. */
  async killForMemory(): Promise<void> {
    const event = 'out of memory';
    this.logger.warn('containers.process.out-of-memory', { limit_bytes: this.memoryLimitBytes });
    if (!this.record.events.includes(event)) {
      await this.update((record) => ({ ...record, events: [...record.events, event] }));
    }
    for (const listener of this.listeners) listener(event);
    await killProcesses({ containerPath: this.directory, isSpared: (member) => this.isWrapper(member) });
  }

  /**
   * Ends the processes and removes everything; may be tried again when it failed. What a crash interrupts, the next
   * engine's start finishes.
   * @param trash path that the directory is renamed to before it is removed
   */
  async destroy(trash: string): Promise<void> {
    this.graceTimer.set(0);
    if (this.record.phase !== 'destroying') await this.update((record) => ({ ...record, phase: 'destroying' }));
    await this.endAll(0);
    this.release();
    await this.writing;
    await rename(this.directory, trash);
    for (const { hostPort } of this.record.mappedPorts) this.context.ports.release(hostPort);
    await removeTree(trash);
  }

  /** Lets go of timers, watchers and streams; processes live on. Idempotent. */
  release(): void {
    this.graceTimer.set(0);
    for (const process of this.processes.values()) process.release();
  }

  /** Live processes, without the wrappers that keep their exit statuses. */
  async members(): Promise<ProcessEntry[]> {
    return this.withoutWrappers(processesByContainer().get(this.directory) ?? []);
  }

  withoutWrappers(entries: ProcessEntry[]): ProcessEntry[] {
    return entries.filter((entry) => !this.isWrapper(entry));
  }

  private get processesDirectory(): string {
    return join(this.directory, 'processes');
  }

  private async start(id: string, spec: ProcessSpec, io: ProcessIO): Promise<SupervisedProcess> {
    const home = await this.homeDirectory(spec.user);
    const cwd = spec.dir === undefined ? home : await hostPath(this.tree, spec.dir);
    await mkdir(cwd, { recursive: true });
    const environment = processEnvironment({
      containerEnv: this.record.env,
      processEnv: spec.env ?? [],
      user: spec.user,
      home,
      containerPath: this.directory,
      handle: this.handle,
      searchPath: this.context.searchPath,
    });
    const program = await this.findProgram(spec.path, cwd, environment.PATH!);
    const limits = rlimitArguments(spec.rlimits ?? {}, this.context.ceilings);
    const directory = join(this.processesDirectory, id);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    try {
      return await SupervisedProcess.start({
        id,
        directory,
        io,
        cwd,
        environment,
        tools: this.context.tools,
        command: [
          ...(limits.length > 0 ? [this.context.tools.prlimit, ...limits, '--'] : []),
          program,
          ...(spec.args ?? []),
        ],
        discardOutput: spec.discardOutput ?? false,
        tty: spec.tty && { columns: spec.tty.columns ?? 80, rows: spec.tty.rows ?? 24 },
      });
    } catch (error) {
      await removeTree(directory);
      throw error;
    }
  }

  /** A home is made when it is missing: any user is accepted. */
  private async homeDirectory(user: string | undefined): Promise<string> {
    const home = await hostPath(this.tree, homeOf(user));
    await mkdir(home, { recursive: true });
    return home;
  }

  /** A path is looked for in the tree first (bind mounts bring programs), then on the host. */
  private async findProgram(path: string, cwd: string, searchPath: string): Promise<string> {
    const candidates = path.includes('/')
      ? isAbsolute(path)
        ? [await hostPath(this.tree, path), path]
        : [resolve(cwd, path)]
      : searchPath.split(':').map((directory) => resolve(cwd, directory, path));
    for (const candidate of candidates) {
      if (await isExecutable(candidate)) return path.includes('/') ? candidate : path;
    }
    throw new ExecutableNotFoundError(
      path.includes('/')
        ? `exec: "${path}": no such file, or not executable`
        : `exec: "${path}": executable file not found in $PATH`,
    );
  }

  private absolute(path: string, user: string | undefined): string {
    return isAbsolute(path) ? path : join(homeOf(user), path);
  }

  private async endAll(graceTimeMs: number): Promise<void> {
    // No new start begins any more; those under way must not slip through.
    await Promise.allSettled(this.starting.values());
    await endProcesses({ containerPath: this.directory, isSpared: (member) => this.isWrapper(member), graceTimeMs });
    // The wrappers write down how it ended, and end. A lost status is told to those who wait for it.
    await Promise.allSettled([...this.processes.values()].map(({ exited }) => exited));
  }

  private isWrapper(entry: ProcessEntry): boolean {
    return [...this.processes.values()].some((process) => process.isWrapper(entry));
  }

  private countCpuAtExit(process: SupervisedProcess): void {
    process.exited
      .then(({ cpuNs }) => this.update((record) => ({ ...record, endedCpuNs: record.endedCpuNs + cpuNs })))
      .catch((error: unknown) => this.logger.debug('containers.process.exit-not-counted', errorData(error)));
  }

  private async forgetOldProcesses(): Promise<void> {
    const ended = [...this.processes.values()].filter(({ isAlive }) => !isAlive);
    for (const process of ended.slice(0, Math.max(0, ended.length - keptProcesses))) {
      this.processes.delete(process.id);
      await removeTree(join(this.processesDirectory, process.id));
    }
  }

  /** While someone waits for a process, the container is in use. */
  private tracked(process: ContainerProcess): ContainerProcess {
    return { ...process, wait: (options) => this.graceTimer.during(() => process.wait(options)) };
  }

  private async referred<T>(operation: () => Promise<T>): Promise<T> {
    this.refer();
    return this.graceTimer.during(operation);
  }

  /** Writes are one after the other, so that the disk never holds an older record than memory did. */
  private update(change: (record: ContainerRecord) => ContainerRecord): Promise<void> {
    if (this.record.phase === 'destroying') return Promise.reject(new UnknownHandleError(this.handle));
    this.record = change(this.record);
    const written = this.writing.then(() => writeRecord(this.directory, this.record));
    this.writing = written.catch(() => {});
    return written;
  }
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}

function asStream(content: string | Buffer): Readable {
  return Readable.from([content], { objectMode: false });
}

function sum<Item>(items: Item[], value: (item: Item) => number): number {
  return items.reduce((total, item) => total + value(item), 0);
}

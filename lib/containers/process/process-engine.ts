import { randomUUID } from 'node:crypto';
import { access, constants, mkdir, readdir, readFile, rmdir, stat, statfs } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { errorData, type Logger } from '../../logging/logger.js';
import type {
  Capacity,
  Container,
  ContainerEngine,
  ContainerInfo,
  ContainerMetrics,
  ContainerSpec,
  Properties,
} from '../engine.js';
import { HandleInUseError, HostRequirementError, InvalidSpecError, UnknownHandleError } from '../errors.js';
import { type ContainerRecord, readRecord, writeRecord } from './container-record.js';
import { createTree, removeTree } from './container-tree.js';
import { HostPorts } from './host-ports.js';
import { MemoryWatch } from './memory-watch.js';
import { type ContainerContext, ProcessContainer } from './process-container.js';
import { checkLimits, parseCeilings, splitAssignment } from './process-plan.js';
import { TarStreams } from './tar-streams.js';
import type { WrapperTools } from './wrapper.js';

export interface ProcessEngineOptions {
  /** Directory with a directory per container; made when missing. */
  depotDirectory: string;
  /** First host port that `netIn` chooses from. @default 61001 */
  portPoolStart?: number;
  /** @default 4000 */
  portPoolSize?: number;
  /** How often memory limits are checked. @default 1000 */
  memoryCheckIntervalMs?: number;
  logger: Logger;
}

const defaultSearchPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** No handle begins with it. */
const trashPrefix = ',trash-';
const maximumContainers = 1024;

/**
 * An engine without any isolation, for development without root: processes of the host with a directory per
 * container (docs/limits.md). Processes, their output and exit statuses survive the engine.
 */
export function createProcessEngine(options: ProcessEngineOptions): ContainerEngine {
  return new ProcessEngine(options);
}

class ProcessEngine implements ContainerEngine {
  readonly isolation = 'none';
  private readonly containers = new Map<string, ProcessContainer>();
  private readonly creating = new Set<string>();
  private readonly destroying = new Map<string, Promise<void>>();
  private readonly ports: HostPorts;
  private readonly tars = new TarStreams();
  private readonly memoryWatch: MemoryWatch;
  private readonly logger: Logger;
  private context: ContainerContext | undefined;

  constructor(private readonly options: ProcessEngineOptions) {
    const { portPoolStart = 61001, portPoolSize = 4000, memoryCheckIntervalMs = 1000, logger } = options;
    this.logger = logger.child({}, 'Containers::Process');
    this.ports = new HostPorts({ start: portPoolStart, size: portPoolSize });
    this.memoryWatch = new MemoryWatch({
      containers: () => this.visible(),
      intervalMs: memoryCheckIntervalMs,
      logger: this.logger,
    });
  }

  async start(): Promise<void> {
    this.logger.warn(
      'containers run WITHOUT ISOLATION (engine "process"): apps see and may change everything that this user can',
      {
        isolation: this.isolation,
        depot: this.options.depotDirectory,
      },
    );
    await mkdir(this.options.depotDirectory, { recursive: true });
    this.context = {
      ports: this.ports,
      tars: this.tars,
      tools: await findTools(),
      searchPath: process.env.PATH ?? defaultSearchPath,
      ceilings: parseCeilings(await readFile('/proc/self/limits', 'utf8')),
      logger: this.logger,
      onUnused: (handle) => this.reap(handle),
    };
    await this.recover(this.context);
    this.memoryWatch.start();
  }

  async stop(): Promise<void> {
    await this.memoryWatch.stop();
    this.tars.stop();
    for (const container of this.containers.values()) container.release();
    await Promise.allSettled(this.destroying.values());
    this.containers.clear();
  }

  async release(): Promise<void> {
    await this.stop();
    await rmdir(this.options.depotDirectory).catch((error: unknown) => {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ENOTEMPTY' && code !== 'ENOENT') throw error;
    });
  }

  async create(spec: ContainerSpec): Promise<Container> {
    const handle = checkHandle(spec.handle ?? randomUUID());
    await checkSpec(spec);
    if (this.containers.has(handle) || this.creating.has(handle)) throw new HandleInUseError(handle);
    this.creating.add(handle);
    try {
      const container = await this.build(newRecord(handle, spec), spec);
      this.containers.set(handle, container);
      return container;
    } finally {
      this.creating.delete(handle);
    }
  }

  async list(filter: Properties = {}): Promise<Container[]> {
    return this.visible().filter((container) => container.hasProperties(filter));
  }

  async lookup(handle: string): Promise<Container> {
    return this.require(handle);
  }

  async destroy(handle: string): Promise<void> {
    const underWay = this.destroying.get(handle);
    if (underWay) return underWay;
    const container = this.containers.get(handle);
    if (!container) throw new UnknownHandleError(handle);
    const destruction = container.destroy(this.trashPath()).finally(() => this.destroying.delete(handle));
    this.destroying.set(handle, destruction);
    await destruction;
    this.containers.delete(handle);
  }

  async capacity(): Promise<Capacity> {
    const { blocks, bsize } = await statfs(this.options.depotDirectory);
    return { memoryBytes: totalmem(), diskBytes: blocks * bsize, maxContainers: maximumContainers };
  }

  async bulkInfo(handles: string[]): Promise<Map<string, ContainerInfo | Error>> {
    return this.collect(handles, (container) => container.info());
  }

  async bulkMetrics(handles: string[]): Promise<Map<string, ContainerMetrics | Error>> {
    return this.collect(handles, (container) => container.metrics());
  }

  /** A container has come into being when its record is written; what a crash leaves before that is removed. */
  private async build(record: ContainerRecord, spec: ContainerSpec): Promise<ProcessContainer> {
    const context = this.startedContext();
    const directory = join(this.options.depotDirectory, record.handle);
    await mkdir(directory, { mode: 0o700 });
    try {
      await createTree({ root: join(directory, 'rootfs'), bindMounts: record.bindMounts });
      await writeRecord(directory, record);
    } catch (error) {
      await removeTree(directory);
      throw error;
    }
    const container = new ProcessContainer(directory, record, context);
    try {
      for (const request of spec.netIn ?? []) await container.netIn(request);
      return container;
    } catch (error) {
      await container.destroy(this.trashPath());
      throw error;
    }
  }

  /** What the disk says about containers of an earlier engine. */
  private async recover(context: ContainerContext): Promise<void> {
    for (const name of await readdir(this.options.depotDirectory)) {
      const directory = join(this.options.depotDirectory, name);
      if (name.startsWith(trashPrefix)) await removeTree(directory);
      else if (!this.containers.has(name)) await this.recoverContainer(directory, context);
    }
  }

  private async recoverContainer(directory: string, context: ContainerContext): Promise<void> {
    let record: ContainerRecord | undefined;
    try {
      record = await readRecord(directory);
    } catch (error) {
      // Not to be thrown away unseen: somebody may want to know what was in it.
      this.logger.error('containers.process.unreadable', { directory, ...errorData(error) });
      return;
    }
    if (!record) {
      await removeTree(directory);
      return;
    }
    const interrupted = record.phase === 'destroying';
    const container = new ProcessContainer(directory, interrupted ? { ...record, phase: 'stopped' } : record, context);
    await container.recoverProcesses();
    for (const { hostPort } of record.mappedPorts) this.ports.reserve(hostPort);
    if (interrupted) await container.destroy(this.trashPath());
    else this.containers.set(record.handle, container);
  }

  private reap(handle: string): void {
    this.logger.info('containers.process.unused', { handle });
    this.destroy(handle).catch((error: unknown) => {
      if (error instanceof UnknownHandleError) return;
      this.logger.error('containers.process.reap-failed', { handle, ...errorData(error) });
    });
  }

  private visible(): ProcessContainer[] {
    return [...this.containers.values()].filter(({ phase }) => phase !== 'destroying');
  }

  private require(handle: string): ProcessContainer {
    const container = this.containers.get(handle);
    if (!container || container.phase === 'destroying') throw new UnknownHandleError(handle);
    container.refer();
    return container;
  }

  private startedContext(): ContainerContext {
    if (!this.context) throw new Error('the engine is not started');
    return this.context;
  }

  private trashPath(): string {
    return join(this.options.depotDirectory, `${trashPrefix}${randomUUID()}`);
  }

  private async collect<Value>(
    handles: string[],
    read: (container: ProcessContainer) => Promise<Value>,
  ): Promise<Map<string, Value | Error>> {
    const entries = handles.map(async (handle): Promise<[string, Value | Error]> => {
      try {
        return [handle, await read(this.require(handle))];
      } catch (error) {
        return [handle, error instanceof Error ? error : new Error(String(error))];
      }
    });
    return new Map(await Promise.all(entries));
  }
}

function newRecord(handle: string, spec: ContainerSpec): ContainerRecord {
  return {
    version: 1,
    handle,
    phase: 'active',
    createdAtMs: Date.now(),
    env: spec.env ?? [],
    properties: spec.properties ?? {},
    bindMounts: spec.bindMounts ?? [],
    limits: spec.limits ?? {},
    mappedPorts: [],
    graceTimeMs: spec.graceTimeMs ?? 0,
    events: [],
    endedCpuNs: 0,
  };
}

/** The image is not used; that it is there is asked all the same, so that a wrong path is not found out elsewhere. */
async function checkSpec(spec: ContainerSpec): Promise<void> {
  for (const item of spec.env ?? []) splitAssignment(item);
  checkLimits(spec.limits ?? {});
  if (!spec.rootfs?.startsWith('/')) throw new InvalidSpecError(`rootfs: "${spec.rootfs}" is not absolute`);
  const status = await stat(spec.rootfs).catch(() => undefined);
  if (!status?.isDirectory()) throw new InvalidSpecError(`rootfs: there is no directory ${spec.rootfs}`);
}

function checkHandle(handle: string): string {
  if (!/^[A-Za-z0-9_+.-]{1,200}$/.test(handle) || handle === '.' || handle === '..') {
    throw new InvalidSpecError(`handle: "${handle.slice(0, 40)}" may have letters, digits and _+.- only`);
  }
  return handle;
}

/** @throws HostRequirementError naming the missing program */
async function findTools(): Promise<WrapperTools> {
  const find = async (name: string): Promise<string> => {
    const directories = `${process.env.PATH ?? ''}:${defaultSearchPath}`.split(':');
    for (const directory of directories) {
      const path = join(directory, name);
      const isThere = await access(path, constants.X_OK).then(
        () => true,
        () => false,
      );
      if (isThere && path.startsWith('/')) return path;
    }
    throw new HostRequirementError(`${name} is missing; run: apt-get install util-linux bsdutils coreutils`);
  };
  const [setsid, prlimit, script, stty] = await Promise.all(['setsid', 'prlimit', 'script', 'stty'].map(find));
  return { setsid: setsid!, prlimit: prlimit!, script: script!, stty: stty! };
}

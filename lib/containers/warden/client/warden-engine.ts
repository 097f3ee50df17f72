import { rm, stat, statfs } from 'node:fs/promises';
import { networkInterfaces, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { errorData, type Logger } from '../../../logging/logger.js';
import type {
  Capacity,
  Container,
  ContainerEngine,
  ContainerInfo,
  ContainerMetrics,
  ContainerSpec,
  Properties,
} from '../../engine.js';
import { InvalidSpecError, UnknownHandleError } from '../../errors.js';
import { checkLimits } from '../../oci/container-spec.js';
import { checkEnvironment } from '../../oci/supervisor/process-spec.js';
import type { Response } from '../protocol/messages.js';
import { requestOnce, WardenConnection } from './connection.js';
import { RemoteContainer } from './container.js';
import { expectLimits } from './requests.js';
import { emptyRecord, StateFile } from './state-file.js';

export interface WardenEngineOptions {
  /** UNIX socket of the Warden server, which must run on this host. */
  socketPath: string;
  /** Where properties, grace times and the like are kept, which Warden has no place for. */
  stateFile: string;
  /** Private directory for files on their way; Warden must see it under the same name. Made when missing. */
  scratchDirectory: string;
  /** Address of the host that mapped ports answer on. @default the first that is not the loopback's */
  externalIp?: string;
  /** How often Warden is asked for events of containers that somebody listens to. @default 1000 */
  pollIntervalMs?: number;
  /** What `capacity` tells: Warden does not. @default 256 */
  maxContainers?: number;
  logger: Logger;
}

const defaultPollIntervalMs = 1_000;
const defaultMaxContainers = 256;
const handlePattern = /^[A-Za-z0-9_+.-]{1,200}$/;
/** Ten years: Warden has no way to say "never". */
const endlessGraceSeconds = 315_360_000;

/** The engine port over the socket of a Warden server, for a cell whose containers another program runs. */
export class WardenEngine implements ContainerEngine {
  readonly isolation = 'oci';
  readonly #options: WardenEngineOptions;
  readonly #logger: Logger;
  readonly #containers = new Map<string, RemoteContainer>();
  readonly #externalIp: string;
  #state: StateFile | undefined;
  /** Refers to all containers as long as it is open, so that Warden's grace times do not begin. */
  #holder: Promise<WardenConnection> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isPolling = false;

  private constructor(options: WardenEngineOptions) {
    this.#options = options;
    this.#logger = options.logger;
    this.#externalIp = options.externalIp ?? firstExternalAddress();
  }

  static create(options: WardenEngineOptions): WardenEngine {
    return new WardenEngine(options);
  }

  /** @throws ConnectionLostError when no server listens */
  async start(): Promise<void> {
    this.#state = await StateFile.read(this.#options.stateFile);
    await (await this.#hold()).request('Ping', {});
    await this.#reconcile();
    const { pollIntervalMs = defaultPollIntervalMs } = this.#options;
    this.#timer = setInterval(() => this.#poll(), pollIntervalMs);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    for (const container of this.#containers.values()) container.letGo();
    this.#containers.clear();
    const holder = await this.#holder?.catch(() => undefined);
    holder?.close();
  }

  /** Nothing of the host is ours. */
  release(): Promise<void> {
    return this.stop();
  }

  async create(spec: ContainerSpec): Promise<Container> {
    const state = this.#started();
    await checkSpec(spec);
    const { graceTimeMs = 0 } = spec;
    const { handle } = await requestOnce(this.#options.socketPath, 'Create', {
      ...(spec.handle !== undefined && { handle: spec.handle }),
      ...(spec.rootfs !== undefined && { rootfs: spec.rootfs }),
      ...(spec.network !== undefined && { network: spec.network }),
      graceTime: graceTimeMs > 0 ? Math.ceil(graceTimeMs / 1000) : endlessGraceSeconds,
      bindMounts: (spec.bindMounts ?? []).map(({ source, destination, mode }) => ({
        srcPath: source,
        dstPath: destination,
        mode: mode === 'ro' ? 'RO' : 'RW',
      })),
    });
    state.containers.set(handle, {
      ...emptyRecord(Date.now()),
      env: spec.env ?? [],
      properties: { ...spec.properties },
      graceTimeMs,
    });
    // A list that came in between took it for one of somebody else.
    this.#containers.get(handle)?.letGo();
    this.#containers.delete(handle);
    const container = this.#add(handle);
    try {
      // From the first question on, Warden counts the holding connection as one that refers to it.
      await this.#askInfo(handle);
      await container.limit(spec.limits ?? {});
      for (const request of spec.netIn ?? []) await container.netIn(request);
      await container.netOut(spec.netOut ?? []);
      await state.save();
      return container;
    } catch (error) {
      await this.destroy(handle).catch((failure: unknown) => {
        this.#logger.error('containers.create.undo-failed', { handle, ...errorData(failure) });
      });
      throw error;
    }
  }

  async list(filter: Properties = {}): Promise<Container[]> {
    await this.#reconcile();
    return [...this.#containers.values()].filter((container) => container.matches(filter));
  }

  async lookup(handle: string): Promise<Container> {
    this.#started();
    await this.#asking(handle, this.#askInfo(handle));
    return this.#containers.get(handle) ?? this.#add(handle);
  }

  async destroy(handle: string): Promise<void> {
    this.#started();
    const container = this.#containers.get(handle) ?? this.#add(handle);
    await this.#asking(handle, container.destroy());
    await this.#forget(handle);
  }

  async capacity(): Promise<Capacity> {
    const { scratchDirectory, maxContainers = defaultMaxContainers } = this.#options;
    const { blocks, bsize } = await statfs(dirname(scratchDirectory));
    return { memoryBytes: totalmem(), diskBytes: blocks * bsize, maxContainers };
  }

  bulkInfo(handles: string[]): Promise<Map<string, ContainerInfo | Error>> {
    return this.#ofEach(handles, (container) => container.info());
  }

  bulkMetrics(handles: string[]): Promise<Map<string, ContainerMetrics | Error>> {
    return this.#ofEach(handles, (container) => container.metrics());
  }

  /** Knows exactly the containers that Warden knows. */
  async #reconcile(): Promise<void> {
    this.#started();
    // What is created meanwhile is on neither list yet.
    const known = new Set([...this.#containers.keys(), ...this.#started().containers.keys()]);
    const { handles } = await requestOnce(this.#options.socketPath, 'List', {});
    for (const handle of handles) {
      if (!this.#containers.has(handle)) this.#add(handle);
      known.delete(handle);
    }
    await Promise.all([...known].map((handle) => this.#forget(handle)));
  }

  #add(handle: string): RemoteContainer {
    const state = this.#started();
    const known = this.#containers.get(handle);
    if (known) return known;
    const record = state.containers.get(handle) ?? emptyRecord(Date.now());
    state.containers.set(handle, record);
    const { socketPath, scratchDirectory } = this.#options;
    const container = new RemoteContainer({
      handle,
      record,
      socketPath,
      scratchDirectory,
      cursorDirectory: this.#cursorDirectory(handle),
      externalIp: this.#externalIp,
      save: () => state.save(),
      askInfo: (of) => this.#askInfo(of),
      onGraceTimeElapsed: () => this.#reap(handle),
      logger: this.#logger,
    });
    this.#containers.set(handle, container);
    return container;
  }

  async #forget(handle: string): Promise<void> {
    this.#containers.get(handle)?.retire();
    this.#containers.delete(handle);
    const isOurs = this.#state?.containers.delete(handle);
    await rm(this.#cursorDirectory(handle), { recursive: true, force: true });
    if (isOurs) await this.#state!.save();
  }

  #cursorDirectory(handle: string): string {
    return join(this.#options.scratchDirectory, `delivered-${handle}`);
  }

  /** What Warden does not know any more is forgotten here, too. */
  async #asking<Result>(handle: string, answer: Promise<Result>): Promise<Result> {
    try {
      return await answer;
    } catch (error) {
      if (error instanceof UnknownHandleError) await this.#forget(handle);
      throw error;
    }
  }

  #reap(handle: string): void {
    this.#logger.info('containers.grace-time-elapsed', { handle });
    this.destroy(handle).catch((error: unknown) => {
      this.#logger.error('containers.reap-failed', { handle, ...errorData(error) });
    });
  }

  async #askInfo(handle: string): Promise<Response<'Info'>> {
    return (await this.#hold()).request('Info', { handle });
  }

  #hold(): Promise<WardenConnection> {
    this.#holder ??= this.#openHolder();
    return this.#holder;
  }

  /** One that breaks is replaced when it is needed next. */
  async #openHolder(): Promise<WardenConnection> {
    try {
      const connection = await WardenConnection.open(this.#options.socketPath);
      void connection.closed.then(() => {
        this.#holder = undefined;
      });
      return connection;
    } catch (error) {
      this.#holder = undefined;
      throw error;
    }
  }

  #poll(): void {
    for (const container of this.#containers.values()) container.forgetDeliveredProcesses();
    const watched = [...this.#containers.values()].filter(({ hasListeners }) => hasListeners);
    if (this.#isPolling || watched.length === 0) return;
    this.#isPolling = true;
    Promise.allSettled(
      watched.map(async (container) => container.noteEvents((await this.#askInfo(container.handle)).events)),
    ).finally(() => {
      this.#isPolling = false;
    });
  }

  async #ofEach<Result>(
    handles: string[],
    ask: (container: Container) => Promise<Result>,
  ): Promise<Map<string, Result | Error>> {
    const answers = await Promise.all(
      handles.map(async (handle): Promise<[string, Result | Error]> => {
        const container = this.#containers.get(handle);
        if (!container) return [handle, new UnknownHandleError(handle)];
        const answer = await ask(container).catch((error: unknown) =>
          error instanceof Error ? error : new Error(String(error)),
        );
        return [handle, answer];
      }),
    );
    return new Map(answers);
  }

  #started(): StateFile {
    if (!this.#state) throw new Error('the container engine is not running');
    return this.#state;
  }
}

/** @throws InvalidSpecError naming the field */
async function checkSpec(spec: ContainerSpec): Promise<void> {
  const { handle, rootfs, limits = {} } = spec;
  if (handle !== undefined && (!handlePattern.test(handle) || handle === '.' || handle === '..')) {
    throw new InvalidSpecError(`handle: ${JSON.stringify(handle)} must match [A-Za-z0-9_+.-]{1,200}`);
  }
  if (rootfs !== undefined && !rootfs.startsWith('/')) {
    throw new InvalidSpecError(`rootfs: Warden takes directories only, not ${JSON.stringify(rootfs)}`);
  }
  if (spec.privileged) throw new InvalidSpecError('privileged: Warden has no privileged containers');
  if (spec.credentials) throw new InvalidSpecError('credentials: Warden fetches no images');
  if (spec.graceTimeMs !== undefined && !(spec.graceTimeMs >= 0)) {
    throw new InvalidSpecError(`graceTimeMs: ${spec.graceTimeMs}`);
  }
  checkEnvironment(spec.env ?? []);
  checkLimits(limits);
  expectLimits(limits);
  for (const [index, { source }] of (spec.bindMounts ?? []).entries()) {
    await stat(source).catch((cause: unknown) => {
      throw new InvalidSpecError(`bindMounts[${index}].source: ${source}: no such file or directory`, { cause });
    });
  }
}

function firstExternalAddress(): string {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return addresses.find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? '127.0.0.1';
}

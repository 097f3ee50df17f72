import { randomUUID } from 'node:crypto';
import { readdir, rm, rmdir, statfs } from 'node:fs/promises';
import { availableParallelism, totalmem } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeDirectories } from '../../files/directories.js';
import { errorData, type Logger } from '../../logging/logger.js';
import type { Launcher } from '../../process/launcher.js';
import { Turnstile } from '../../process/turnstile.js';
import type {
  Capacity,
  Container,
  ContainerEngine,
  ContainerInfo,
  ContainerMetrics,
  ContainerSpec,
  Properties,
} from '../engine.js';
import { HandleInUseError, InvalidSpecError, UnknownHandleError } from '../errors.js';
import { OciContainer } from './container.js';
import { checkBindSources, checkContainerSpec } from './container-spec.js';
import { readBootId, type StateFile } from './container-state.js';
import { beginCreation, creationStages, idMapFor } from './creation.js';
import { DepotClaim } from './depot-claim.js';
import type { Host } from './host.js';
import { findHostTools } from './host-tools.js';
import { DepotLayout } from './layout.js';
import { MigrationWarmer } from './migration-warmer.js';
import { mountScratch, unmount } from './mounts.js';
import type { Cgroups, Image, Images, Network, Volumes } from './ports.js';
import { ReachableDepot } from './reachable-depot.js';
import { recover } from './recovery.js';
import { releaseHoldings, removeDirectory } from './removal.js';
import { programMounts } from './runtime/bundle-mounts.js';
import { chooseRuntime } from './runtime/choice.js';
import type { NameSettings } from './runtime/host-files.js';
import type { RuntimeName } from './runtime/oci-runtime.js';
import type { StartActivity } from './start-activity.js';
import { runStages } from './steps.js';
import { prepareAttributeTool } from './streams/attribute-tool.js';
import { ContainerShell } from './streams/container-shell.js';
import { TarStreams } from './streams/tar-streams.js';
import { Supervisor } from './supervisor/supervisor.js';
import type { UserNamespaces } from './users/user-namespaces.js';

export interface OciEngineCollaborators {
  images: Images;
  volumes: Volumes;
  network: Network;
  cgroups: Cgroups;
  launcher: Launcher;
  userNamespaces: UserNamespaces;
  /** What stocks are filled beside. */
  activity: StartActivity;
  names: NameSettings;
  logger: Logger;
}

export interface OciEngineSettings {
  layout: DepotLayout;
  runtime: 'auto' | RuntimeName;
  /** What a call of the runtime may take. */
  runtimeTimeoutMs: number;
  /** How many containers the network pool has room for. */
  maxContainers: number;
  /** Whether unprivileged containers get a user namespace, where the host can make them. */
  userNamespaces: boolean;
  /** A host that cannot make them is refused. */
  demandsUserNamespaces: boolean;
  allowPrivileged: boolean;
  /** Programs in unprivileged containers cannot gain capabilities. */
  noNewPrivileges: boolean;
  /** @default 2 per processor */
  maxParallelCreates?: number;
}

const createsPerProcessor = 2;
/** How often memory kills and ended processes are looked after. */
const roundIntervalMs = 1_000;
const removalAttempts = 6;
const firstRemovalPauseMs = 50;

/**
 * The `oci` engine: containers by an OCI runtime, a volume, a network, a control group and a supervisor. This file
 * tells the story; each of them is a room of its own (docs/adr/0002-one-container-engine.md).
 */
export class OciEngine implements ContainerEngine {
  readonly isolation = 'oci';
  readonly #collaborators: OciEngineCollaborators;
  readonly #settings: OciEngineSettings;
  readonly #logger: Logger;
  readonly #containers = new Map<string, OciContainer>();
  readonly #creations = new Map<string, Promise<unknown>>();
  readonly #endings = new Map<string, Promise<void>>();
  /** What destroyed containers still hold is given back after the answer. */
  readonly #removals = new Map<string, Promise<void>>();
  readonly #turnstile: Turnstile;
  /** There even when the start has failed. */
  #depot: ReachableDepot | undefined;
  #claim: DepotClaim | undefined;
  #host: Host | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isStopping = false;

  constructor(collaborators: OciEngineCollaborators, settings: OciEngineSettings) {
    this.#collaborators = collaborators;
    this.#settings = settings;
    this.#logger = collaborators.logger;
    this.#turnstile = new Turnstile(settings.maxParallelCreates ?? createsPerProcessor * availableParallelism());
  }

  async start(): Promise<void> {
    const { images, volumes, network, cgroups, launcher, userNamespaces } = this.#collaborators;
    const { layout } = this.#settings;
    await makeDirectories(layout.output, 0o711);
    // Before anything is mounted below it.
    const depot = await ReachableDepot.prepare(layout.depot);
    this.#depot = depot;
    await mountScratch(layout.run);
    this.#claim = await DepotClaim.take(layout.claim, layout.depot);
    const tools = await findHostTools();
    launcher.start();
    // Before the first network is made, which belongs to one.
    const hasUserNamespaces = await this.#enableUserNamespaces();
    await Promise.all([images.start(), volumes.start(), network.start(), cgroups.start()]);
    const hasAttributeTool = await prepareAttributeTool(layout.attributeTool);
    const ownPrograms = await programMounts({
      init: tools.catatonit,
      toolbox: tools.busybox,
      ...(hasAttributeTool && { attributeTool: layout.attributeTool }),
    });
    const runtimes = await chooseRuntime({
      wanted: this.#settings.runtime,
      timeoutMs: this.#settings.runtimeTimeoutMs,
      directory: layout.runtimes,
      programMounts: ownPrograms,
      probeDirectory: depot.pathOf(layout.probe),
      ...(hasUserNamespaces && { userNamespaces }),
      demandsUserNamespaces: this.#settings.demandsUserNamespaces,
      tools,
      cgroups,
      launcher,
      logger: this.#logger,
    });
    const supervisor = new Supervisor({
      launcher,
      conmon: tools.conmon,
      socat: tools.socat,
      startTimeoutMs: this.#settings.runtimeTimeoutMs,
      logger: this.#logger,
    });
    const shell = new ContainerShell(tools.nsenter);
    const host: Host = {
      ...this.#collaborators,
      layout,
      bootId: await readBootId(),
      tools,
      runtimes,
      programMounts: ownPrograms,
      depot,
      noNewPrivileges: this.#settings.noNewPrivileges,
      supervisor,
      shell,
      streams: new TarStreams({ shell }),
      hasAttributeTool,
      warmer: new MigrationWarmer(),
    };
    this.#host = host;
    await this.#recover(host);
    supervisor.start();
    this.#timer = setInterval(() => this.#makeRounds(), roundIntervalMs);
  }

  async stop(): Promise<void> {
    await this.#settle();
    await this.#collaborators.launcher.stop();
    await this.#claim?.release();
  }

  async release(): Promise<void> {
    await this.#settle();
    try {
      await this.#giveBack();
    } finally {
      await this.#collaborators.launcher.stop();
      await this.#claim?.release();
    }
  }

  /** Lets what is under way come to its end, and lets go of what lives on. */
  async #settle(): Promise<void> {
    this.#isStopping = true;
    clearInterval(this.#timer);
    const { images, volumes, network, userNamespaces } = this.#collaborators;
    // What waits for an image gives up.
    await images.stop();
    await Promise.allSettled([...this.#creations.values(), ...this.#endings.values()]);
    await Promise.allSettled(this.#removals.values());
    for (const container of this.#containers.values()) container.letGo();
    this.#host?.supervisor.stop();
    this.#host?.streams.stop();
    await this.#host?.warmer.stop();
    await Promise.all([volumes.stop(), network.stop()]);
    await userNamespaces.stop();
  }

  async #giveBack(): Promise<void> {
    const { layout } = this.#settings;
    // Another engine works there.
    if (!this.#claim) return;
    if ((await readdir(layout.run).catch(() => [])).some(DepotLayout.isHandle)) return;
    const { network, cgroups } = this.#collaborators;
    await Promise.all([network.teardown(), cgroups.teardown()]);
    await unmount([layout.run]);
    await this.#depot?.release();
    await Promise.all(layout.directories.map((directory) => rm(directory, { recursive: true, force: true })));
    // It may be a mount point, or hold what another program has put there.
    await rmdir(layout.depot).catch(() => {});
  }

  async create(spec: ContainerSpec): Promise<Container> {
    const host = this.#started();
    checkContainerSpec(spec);
    if (spec.privileged && !this.#settings.allowPrivileged) {
      throw new InvalidSpecError('privileged container creation is disabled');
    }
    const handle = spec.handle ?? randomUUID();
    if (this.#containers.has(handle) || this.#creations.has(handle)) throw new HandleInUseError(handle);
    const creation = this.#create(host, handle, spec);
    this.#creations.set(handle, creation);
    try {
      return await creation;
    } finally {
      this.#creations.delete(handle);
    }
  }

  async prepare(rootfs: string): Promise<void> {
    const host = this.#started();
    const image = await host.images.acquire(rootfs, idMapFor(host, { rootfs }));
    host.images.release(image.layers);
  }

  async list(filter: Properties = {}): Promise<Container[]> {
    return [...this.#containers.values()].filter((container) => !container.isEnding && container.matches(filter));
  }

  async lookup(handle: string): Promise<Container> {
    return this.#find(handle);
  }

  /** Resolves when everything in the container is dead; what it held is given back in the background. */
  async destroy(handle: string): Promise<void> {
    const pending = this.#endings.get(handle);
    if (pending) return pending;
    const ending = this.#destroy(this.#started(), this.#find(handle));
    this.#endings.set(handle, ending);
    try {
      await ending;
    } finally {
      this.#endings.delete(handle);
    }
  }

  async capacity(): Promise<Capacity> {
    const { blocks, bsize } = await statfs(this.#settings.layout.depot);
    return { memoryBytes: totalmem(), diskBytes: blocks * bsize, maxContainers: this.#settings.maxContainers };
  }

  bulkInfo(handles: string[]): Promise<Map<string, ContainerInfo | Error>> {
    return this.#ofEach(handles, (handle) => this.#find(handle).inspect());
  }

  bulkMetrics(handles: string[]): Promise<Map<string, ContainerMetrics | Error>> {
    return this.#ofEach(handles, (handle) => this.#measure(handle));
  }

  async #create(host: Host, handle: string, spec: ContainerSpec): Promise<OciContainer> {
    await checkBindSources(spec.bindMounts ?? []);
    // The last container of this name may still be giving back what it held.
    await this.#removals.get(handle);
    // Fetching an image may take minutes: no other creation waits for it.
    const image = await host.images.acquire(spec.rootfs, {
      ...idMapFor(host, spec),
      ...(spec.credentials && { credentials: spec.credentials }),
    });
    try {
      return await this.#createFrom(host, handle, spec, image);
    } finally {
      host.images.release(image.layers);
    }
  }

  async #createFrom(host: Host, handle: string, spec: ContainerSpec, image: Image): Promise<OciContainer> {
    return this.#turnstile.pass(async () => {
      const creation = beginCreation(host, handle, spec, image);
      const onUndoFailure = (step: string, error: unknown) => {
        this.#logger.error('containers.create.undo-failed', { handle, step, ...errorData(error) });
      };
      await host.activity.during(() =>
        host.warmer.during(() => runStages(creationStages, creation, { onUndoFailure })),
      );
      return this.#add(host, creation.file);
    });
  }

  async #destroy(host: Host, container: OciContainer): Promise<void> {
    await container.end();
    this.#containers.delete(container.handle);
    this.#removals.set(container.handle, this.#remove(host, container));
  }

  /** Gives back what a dead container holds; what fails again and again is left for the next start-up. */
  async #remove(host: Host, { handle, state }: OciContainer): Promise<void> {
    try {
      for (let attempt = 1; ; attempt += 1) {
        try {
          await releaseHoldings(host, state);
          await removeDirectory(host, handle);
          return;
        } catch (error) {
          this.#logger.warn('containers.remove.failed', { handle, attempt, ...errorData(error) });
          if (attempt === removalAttempts) return;
          await sleep(firstRemovalPauseMs * 2 ** attempt);
        }
      }
    } finally {
      this.#removals.delete(handle);
    }
  }

  /** A host that cannot make them still runs containers, less well isolated, unless they are demanded. */
  async #enableUserNamespaces(): Promise<boolean> {
    if (!this.#settings.userNamespaces) return false;
    try {
      await this.#collaborators.userNamespaces.enable();
      return true;
    } catch (error) {
      if (this.#settings.demandsUserNamespaces) throw error;
      this.#logger.warn('containers.user-namespaces.unusable', errorData(error));
      return false;
    }
  }

  async #recover(host: Host): Promise<void> {
    const files = await recover(host);
    await Promise.all(
      files.map(async (file) => {
        const container = this.#add(host, file);
        await container.adoptProcesses();
        await container.checkMemoryKills();
      }),
    );
    this.#logger.info('containers.recovered', { count: files.length });
  }

  #add(host: Host, file: StateFile): OciContainer {
    const { handle } = file.state;
    const container = new OciContainer({ host, file, onGraceTimeElapsed: () => this.#reap(handle) });
    this.#containers.set(handle, container);
    return container;
  }

  #reap(handle: string): void {
    this.#logger.info('containers.grace-time-elapsed', { handle });
    this.destroy(handle).catch((error: unknown) => {
      this.#logger.error('containers.reap-failed', { handle, ...errorData(error) });
    });
  }

  #makeRounds(): void {
    for (const container of this.#containers.values()) {
      if (container.isEnding) continue;
      Promise.all([
        container.state.limits.memoryBytes === undefined ? undefined : container.checkMemoryKills(),
        container.forgetDeliveredProcesses(),
      ]).catch((error: unknown) => {
        this.#logger.warn('containers.round-failed', { handle: container.handle, ...errorData(error) });
      });
    }
  }

  /** The id of a process with an image of its own serves as a handle, too. */
  #measure(handle: string): Promise<ContainerMetrics> {
    if (this.#containers.has(handle)) return this.#find(handle).measure();
    const owner = [...this.#containers.values()].find((container) => !container.isEnding && container.hasPea(handle));
    return owner ? owner.measurePea(handle) : this.#find(handle).measure();
  }

  async #ofEach<Result>(
    handles: string[],
    ask: (handle: string) => Promise<Result>,
  ): Promise<Map<string, Result | Error>> {
    const answers = await Promise.allSettled(handles.map(async (handle) => ask(handle)));
    return new Map(
      answers.map((answer, index) => [
        handles[index]!,
        answer.status === 'fulfilled' ? answer.value : toError(answer.reason),
      ]),
    );
  }

  #find(handle: string): OciContainer {
    const container = this.#containers.get(handle);
    if (!container || container.isEnding) throw new UnknownHandleError(handle);
    return container;
  }

  #started(): Host {
    if (this.#host && !this.#isStopping) return this.#host;
    throw new Error('the container engine is not running');
  }
}

function toError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}

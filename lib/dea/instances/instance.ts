import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { load as parseYaml } from 'js-yaml';
import type { DropletCache } from '../../cell/droplet-cache.js';
import type { Ledger } from '../../cell/ledger.js';
import type { Container, ContainerEngine, ContainerProcess, PortMapping } from '../../containers/engine.js';
import { UnknownHandleError } from '../../containers/errors.js';
import { errorData, type Logger } from '../../logging/logger.js';
import { type DeaConfig, defaultHealthCheckTimeout } from '../config.js';
import {
  appUser,
  configuredBindMounts,
  copyDirectoryOut,
  deaOwner,
  kindProperty,
  ownerProperty,
  readContainerFile,
  runScript,
  runSecretScript,
  stackRootfs,
  UserFacingError,
} from '../containers.js';
import { netOutRules } from '../egress-rules.js';
import type { InstanceState } from '../messages.js';
import type { InstanceAttributes } from './attributes.js';
import { systemExports, userExports } from './environment.js';
import { waitUntilHealthy } from './health-check.js';
import { instanceLimits } from './limits.js';
import { hookScript, startScript } from './start-script.js';
import { type InstanceStats, StatCollector } from './stat-collector.js';

/** What an instance works with; shared by all instances of the agent. */
export interface InstanceContext {
  config: DeaConfig;
  engine: ContainerEngine;
  ledger: Ledger;
  droplets: DropletCache;
  /** Directory that crashed instances leave their logs in. */
  crashesDirectory: string;
  localIp: string;
  logger: Logger;
  /** Milliseconds since 1970. */
  clock: () => number;
  /** Told when what a snapshot remembers of an instance has changed without a change of state. */
  onChange(): void;
  /** Told after each change of state. */
  onTransition(instance: Instance, from: InstanceState, to: InstanceState): void;
}

/** What a snapshot remembers about the container of an instance. */
export interface InstanceContainerRecord {
  handle: string;
  containerPath: string;
  hostIp: string;
  containerIp: string;
  ports: PortMapping;
}

/** A required state is not the one that the instance is in. */
export class TransitionError extends Error {
  constructor(from: InstanceState, to: InstanceState) {
    super(`Cannot transition from "${from}" to "${to}"`);
  }
}

/** Id of the app's process in its container, a Warden job's number for readers of the snapshot. */
const appProcessId = '1';
const home = '/home/vcap';
const minimumSampleAgeMs = 1000;

/**
 * One app instance and its container (docs/protocol/dea.md §8, §9, §11, §13).
 *
 *   BORN ---start---> STARTING --healthy--> RUNNING
 *    |  \                |  \                |   |
 *    |   `-no room-.     |   `-error, exit-. |   `--exit--.
 *  stop             v  stop                v v            v
 *    |            CRASHED  |             CRASHED       CRASHED
 *    v                     v
 *  STOPPED <------------ STOPPING <--stop-- RUNNING, EVACUATING
 *
 *   (snapshot) --> RESUMING --> the saved state; a saved STARTING becomes CRASHED
 */
export class Instance {
  private currentState: InstanceState = 'BORN';
  private readonly timestampsMs = new Map<InstanceState, number>();
  private readonly statCollector = new StatCollector();
  private readonly startAbort = new AbortController();
  private starting: Promise<void> | undefined;
  private stopping: Promise<void> | undefined;
  private destroying: Promise<void> | undefined;
  /** The container keeps the id that the instance was born with. */
  private readonly initialHandle: string;
  private container: Container | undefined;
  private containerRecord: InstanceContainerRecord | undefined;
  private process: ContainerProcess | undefined;
  private readonly logger: Logger;

  exitStatus = -1;
  exitDescription = '';
  /** Whether an earlier agent saw the crash, and told of it. */
  wasCrashed = false;

  constructor(
    readonly attributes: InstanceAttributes,
    private readonly context: InstanceContext,
  ) {
    this.initialHandle = attributes.instanceId;
    this.timestampsMs.set('BORN', context.clock());
    this.logger = context.logger.child(
      {
        app_guid: attributes.applicationId,
        instance_id: attributes.instanceId,
        instance_index: attributes.instanceIndex,
      },
      'Dea::Instance',
    );
  }

  get id(): string {
    return this.attributes.instanceId;
  }

  /** The reservation outlives a change of the instance's id by `dea.update`. */
  get reservationId(): string {
    return this.attributes.privateInstanceId;
  }

  get state(): InstanceState {
    return this.currentState;
  }

  /** When the present state was entered, milliseconds since 1970. */
  get stateSinceMs(): number {
    return this.timestampsMs.get(this.currentState)!;
  }

  /** When the instance was started, milliseconds since 1970; undefined before. */
  get startedAtMs(): number | undefined {
    return this.timestampsMs.get('STARTING');
  }

  /** Container handles that this instance has or is about to have. */
  get handles(): string[] {
    const current = this.containerRecord?.handle;
    return current === undefined ? [this.initialHandle] : [this.initialHandle, current];
  }

  get hostPort(): number | null {
    return this.containerRecord?.ports.hostPort ?? null;
  }

  get record(): InstanceContainerRecord | undefined {
    return this.containerRecord;
  }

  get hasStartedProcess(): boolean {
    return this.process !== undefined;
  }

  get stats(): InstanceStats {
    return this.statCollector.stats;
  }

  /** Host directory that is the container's root, while there is a container. */
  get rootDirectory(): string | undefined {
    return this.containerRecord && join(this.containerRecord.containerPath, 'rootfs');
  }

  /** Host directory of the app user's home while there is a container. */
  get homeDirectory(): string | undefined {
    return this.rootDirectory && join(this.rootDirectory, home);
  }

  /** Host directory of what a crash left behind. */
  get crashDirectory(): string {
    return join(this.context.crashesDirectory, this.id);
  }

  /**
   * Starts the app, from its droplet to a healthy process; never rejects: a failure ends in CRASHED.
   */
  async start(): Promise<void> {
    this.transition('STARTING', ['BORN']);
    this.starting = this.runStart(this.startAbort.signal).catch((error: unknown) => this.failStart(error));
    await this.starting;
  }

  /** Marks an instance that there is no room for (docs/protocol/dea.md §8.3). */
  refuse(description: string): void {
    this.exitDescription = description;
    this.transition('CRASHED', ['BORN']);
  }

  /**
   * Stops the app and removes its container. Stopping twice joins the first stop.
   * @throws TransitionError for a crashed instance; the engine's error when the stop failed, the state stays STOPPING
   */
  async stop(): Promise<void> {
    if (this.currentState === 'STOPPED') return;
    if (this.stopping) return this.stopping;
    if (this.currentState === 'BORN') {
      this.transition('STOPPED', ['BORN']);
      return;
    }
    this.transition('STOPPING', ['STARTING', 'RUNNING', 'STOPPING', 'EVACUATING']);
    this.stopping = this.runStop().finally(() => {
      this.stopping = undefined;
    });
    return this.stopping;
  }

  /**
   * Takes an instance over that an earlier agent left, in the state that the snapshot gives.
   */
  async resume(saved: {
    state: InstanceState;
    record: InstanceContainerRecord | undefined;
    startedAtMs: number | undefined;
  }): Promise<void> {
    this.transition('RESUMING', ['BORN']);
    if (saved.startedAtMs !== undefined) this.timestampsMs.set('STARTING', saved.startedAtMs);
    this.containerRecord = saved.record;
    const isAdopted = saved.record !== undefined && (await this.adopt(saved.record.handle));
    if (saved.state === 'CRASHED') {
      this.wasCrashed = true;
      this.transition('CRASHED', ['RESUMING']);
      return;
    }
    if (saved.state === 'STARTING' || !isAdopted || !this.process) {
      this.exitDescription = saved.state === 'STARTING' ? 'failed to start' : 'unknown';
      this.transition('CRASHED', ['RESUMING']);
      return;
    }
    if (saved.state === 'STOPPING') {
      this.transition('STOPPING', ['RESUMING']);
      this.stopping = this.runStop().finally(() => {
        this.stopping = undefined;
      });
      return this.stopping;
    }
    this.transition('RUNNING', ['RESUMING']);
    this.link(this.process);
  }

  /**
   * After entering CRASHED: keeps the app's logs, removes the container, gives its memory back
   * (docs/protocol/dea.md §11.4). Never rejects.
   */
  async cleanUpAfterCrash(): Promise<void> {
    this.startAbort.abort();
    await this.starting;
    if (this.container) {
      const target = join(this.crashDirectory, 'logs');
      await copyDirectoryOut(this.container, `${home}/logs`, target).catch((error: unknown) =>
        this.logger.debug('droplet.crash-handler.no-logs', errorData(error)),
      );
    } else {
      await mkdir(join(this.crashDirectory, 'logs'), { recursive: true }).catch(() => {});
    }
    await this.destroyContainer();
    await this.context.ledger.shrink(this.reservationId, { memoryMb: 0 });
  }

  /** Removes the container, if there is one, and gives the whole reservation back. */
  async dispose(): Promise<void> {
    await this.destroyContainer();
    await this.context.ledger.release(this.reservationId);
  }

  /** Samples the container unless that was done just now. Errors keep the old values. */
  async collectStats(): Promise<void> {
    const nowMs = this.context.clock();
    if (!this.container || nowMs - this.stats.sampledAtMs < minimumSampleAgeMs) return;
    try {
      this.statCollector.add(await this.container.metrics(), nowMs);
    } catch (error) {
      this.logger.warn('stat-collector.info-retrieval.failed', errorData(error));
    }
  }

  private transition(to: InstanceState, from: InstanceState[]): void {
    const old = this.currentState;
    if (!from.includes(old)) throw new TransitionError(old, to);
    this.currentState = to;
    this.timestampsMs.set(to, this.context.clock());
    this.context.onTransition(this, old, to);
  }

  private async runStart(signal: AbortSignal): Promise<void> {
    const { droplets, config } = this.context;
    const { dropletSha1, dropletUri } = this.attributes;
    if (dropletSha1 === null) throw new Error('sha cannot be nil');
    // The directory is mounted into the container, which is made while the droplet may still be on its way.
    const dropletDirectory = await droplets.prepareDirectory(dropletSha1);
    const [droplet, container] = await bothOrFirstError(
      droplets.acquire({ sha1: dropletSha1, url: dropletUri, signal }),
      this.createContainer(dropletDirectory, signal),
    );
    await bothOrFirstError(this.unpack(container, droplet.path), this.linkAppDirectory(container));
    signal.throwIfAborted();
    await this.runHook(config.hooks.before_start);
    signal.throwIfAborted();
    this.process = await this.spawnApp(container);
    this.context.onChange();
    this.link(this.process);
    const isHealthy = await waitUntilHealthy(this.healthCheckTarget(), signal);
    signal.throwIfAborted();
    if (!isHealthy) throw new UserFacingError('failed to accept connections within health check timeout');
    this.transition('RUNNING', ['STARTING']);
    await this.collectStats();
    await this.runHook(config.hooks.after_start);
  }

  private failStart(error: unknown): void {
    // A stop or the process's own exit came first and has told its cause.
    if (this.currentState !== 'STARTING' && this.currentState !== 'RUNNING') return;
    this.logger.warn('instance.start.failed', errorData(error));
    this.exitDescription = error instanceof UserFacingError ? error.message : 'failed to start';
    this.transition('CRASHED', ['STARTING', 'RUNNING']);
  }

  private async createContainer(dropletDirectory: string, signal: AbortSignal): Promise<Container> {
    const { config, engine } = this.context;
    const { attributes } = this;
    const rootfs = stackRootfs(config.stacks, attributes.stack);
    const netOut = netOutRules(attributes.egressNetworkRules);
    signal.throwIfAborted();
    const container = await engine.create({
      handle: this.initialHandle,
      rootfs,
      properties: { [ownerProperty]: deaOwner, [kindProperty]: 'instance' },
      bindMounts: [
        { source: dropletDirectory, destination: dropletDirectory, mode: 'ro' },
        ...configuredBindMounts(config),
      ],
      limits: instanceLimits(attributes.limits, config.instance),
      netIn: [{}],
      netOut,
    });
    this.container = container;
    this.watchMemory(container);
    const info = await container.info();
    this.containerRecord = {
      handle: container.handle,
      containerPath: info.containerPath,
      hostIp: info.hostIp,
      containerIp: info.containerIp,
      ports: info.mappedPorts[0]!,
    };
    return container;
  }

  private unpack(container: Container, droplet: string): Promise<void> {
    return runScript(container, `tar zxf '${droplet}' && mkdir -p app`, { user: appUser });
  }

  /** Buildpacks of old find the app at `/app`, too. */
  private async linkAppDirectory(container: Container): Promise<void> {
    if (this.context.engine.isolation === 'none') return;
    await runScript(container, `rm -rf /app && ln -s home/vcap/app /app`, { user: 'root' });
  }

  private async spawnApp(container: Container): Promise<ContainerProcess> {
    const { config } = this.context;
    const script = startScript({
      ...this.exports(),
      command: await this.startCommand(),
      postSetupHook: config.post_setup_hook,
    });
    return container.run(
      {
        id: appProcessId,
        path: 'bash',
        user: appUser,
        rlimits: { nofile: this.attributes.limits.fds, nproc: config.instance.nproc_limit },
      },
      { stdin: script },
    );
  }

  /** Undefined for a very old droplet, which has no `staging_info.yml` but a script of its own. */
  private async startCommand(): Promise<string | undefined> {
    const text = await readContainerFile(this.rootDirectory!, `${home}/staging_info.yml`);
    if (text === undefined) return undefined;
    const stagingInfo = parseYaml(text) as { start_command?: unknown } | null | undefined;
    const command = this.attributes.startCommand ?? stagingInfo?.start_command;
    if (typeof command !== 'string' || command === '') throw new UserFacingError('missing start command');
    return command;
  }

  private exports(): { systemExports: string; userExports: string } {
    const { attributes, containerRecord } = this;
    return {
      systemExports: systemExports({
        vcapApplication: attributes.vcapApplication,
        applicationId: attributes.applicationId,
        instanceId: attributes.instanceId,
        instanceIndex: attributes.instanceIndex,
        services: attributes.services,
        memoryMb: attributes.limits.mem,
        containerPort: containerRecord!.ports.containerPort,
        hostPort: containerRecord!.ports.hostPort,
        localIp: this.context.localIp,
        startedAt: new Date(this.startedAtMs!),
      }),
      userExports: userExports(attributes.environmentEntries),
    };
  }

  private async runHook(path: string | undefined): Promise<void> {
    if (path === undefined || !this.container) return;
    let hook: string;
    try {
      hook = await readFile(path, 'utf8');
    } catch (error) {
      this.logger.warn('droplet.hook-script.missing', { hook_path: path, ...errorData(error) });
      return;
    }
    await runSecretScript(this.container, hookScript({ ...this.exports(), hook }), { user: appUser });
  }

  private healthCheckTarget() {
    const { attributes } = this;
    const timeoutSeconds = attributes.healthCheckTimeout ?? defaultHealthCheckTimeout(this.context.config);
    return {
      rootDirectory: this.rootDirectory!,
      home,
      address:
        attributes.applicationUris.length > 0
          ? { host: this.context.localIp, port: this.containerRecord!.ports.hostPort }
          : undefined,
      timeoutMs: timeoutSeconds * 1000,
    };
  }

  /** Learns of the app's end, which is a crash unless a stop is under way (docs/protocol/dea.md §11.3). */
  private link(appProcess: ContainerProcess): void {
    appProcess.wait().then(
      (exitStatus) => this.handleExit(exitStatus),
      (error: unknown) => {
        this.logger.warn('droplet.warden.link.failed', errorData(error));
        return this.handleExit(-1, 'unknown');
      },
    );
  }

  private async handleExit(exitStatus: number, description?: string): Promise<void> {
    const events = description ? [] : await this.pastEvents();
    if (!['STARTING', 'RUNNING', 'EVACUATING'].includes(this.currentState)) return;
    this.exitStatus = exitStatus;
    this.exitDescription = description ?? events?.[0] ?? (events ? 'app instance exited' : 'cannot be determined');
    this.logger.warn('droplet.instance.crashed', {
      exit_status: exitStatus,
      exit_description: this.exitDescription,
      uptime: (this.context.clock() - (this.startedAtMs ?? this.context.clock())) / 1000,
    });
    this.transition('CRASHED', ['STARTING', 'RUNNING', 'EVACUATING']);
  }

  private async pastEvents(): Promise<string[] | undefined> {
    try {
      return (await this.container?.info())?.events;
    } catch {
      return undefined;
    }
  }

  /** A container that ran out of memory is stopped as a whole, as Warden does: half an app is no app. */
  private watchMemory(container: Container): void {
    const unsubscribe = container.onEvent(() => {
      unsubscribe();
      container
        .stop({ kill: true })
        .catch((error: unknown) => this.logger.warn('droplet.out-of-memory.stop.failed', errorData(error)));
    });
  }

  private async adopt(handle: string): Promise<boolean> {
    try {
      const container = await this.context.engine.lookup(handle);
      this.container = container;
      const info = await container.info();
      this.containerRecord = {
        handle,
        containerPath: info.containerPath,
        hostIp: info.hostIp,
        containerIp: info.containerIp,
        ports: this.containerRecord?.ports ?? info.mappedPorts[0]!,
      };
      this.process = await container.attach(appProcessId);
      this.watchMemory(container);
      return true;
    } catch (error) {
      this.logger.warn('instance.resume.failed', errorData(error));
      return false;
    }
  }

  private async runStop(): Promise<void> {
    this.startAbort.abort();
    await this.starting;
    if (this.container) {
      await this.runHook(this.context.config.hooks.before_stop);
      await this.container.stop();
      await this.runHook(this.context.config.hooks.after_stop);
    }
    this.transition('STOPPED', ['STOPPING']);
  }

  private destroyContainer(): Promise<void> {
    this.destroying ??= this.runDestroy().catch((error: unknown) => {
      this.destroying = undefined;
      throw error;
    });
    return this.destroying;
  }

  private async runDestroy(): Promise<void> {
    const { container } = this;
    if (!container) return;
    try {
      await this.context.engine.destroy(container.handle);
    } catch (error) {
      if (!(error instanceof UnknownHandleError)) throw error;
    }
    this.container = undefined;
    this.containerRecord = undefined;
  }
}

/** Lets both run to their end, so that nothing goes on behind a failure's back. @throws the first error */
async function bothOrFirstError<A, B>(first: Promise<A>, second: Promise<B>): Promise<[A, B]> {
  const [a, b] = await Promise.allSettled([first, second]);
  if (a.status === 'rejected') throw a.reason;
  if (b.status === 'rejected') throw b.reason;
  return [a.value, b.value];
}

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { DropletCache } from '../../cell/droplet-cache.js';
import type { Ledger } from '../../cell/ledger.js';
import type { ContainerEngine, ContainerProcess } from '../../containers/engine.js';
import { errorData, type Logger } from '../../logging/logger.js';
import type { DeaConfig } from '../config.js';
import { UserFacingError } from '../containers.js';
import type { InstanceState } from '../messages.js';
import type { InstanceAttributes } from './attributes.js';
import { InstanceContainer, type InstanceContainerRecord } from './instance-container.js';
import type { KnownDroplets } from './known-droplets.js';
import type { InstanceStats } from './stat-collector.js';

/** What an instance works with; shared by all instances of the agent. */
export interface InstanceContext {
  config: DeaConfig;
  engine: ContainerEngine;
  ledger: Ledger;
  droplets: DropletCache;
  knownDroplets: KnownDroplets;
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

/** A required state is not the one that the instance is in. */
export class TransitionError extends Error {
  constructor(from: InstanceState, to: InstanceState) {
    super(`Cannot transition from "${from}" to "${to}"`);
  }
}

/**
 * The life of one app instance (docs/protocol/dea.md §8, §9, §11, §13); what is done in its container is
 * `InstanceContainer`'s.
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
  private readonly startAbort = new AbortController();
  private starting: Promise<void> | undefined;
  private stopping: Promise<void> | undefined;
  private readonly container: InstanceContainer;
  private process: ContainerProcess | undefined;
  /** The app's process extracts its droplet first. */
  private isUnpacking = false;
  private readonly logger: Logger;

  exitStatus = -1;
  exitDescription = '';
  /** Whether an earlier agent saw the crash, and told of it. */
  wasCrashed = false;

  constructor(
    readonly attributes: InstanceAttributes,
    private readonly context: InstanceContext,
  ) {
    this.timestampsMs.set('BORN', context.clock());
    this.logger = context.logger.child(
      {
        app_guid: attributes.applicationId,
        instance_id: attributes.instanceId,
        instance_index: attributes.instanceIndex,
      },
      'Dea::Instance',
    );
    const { engine, config, localIp, clock } = context;
    this.container = new InstanceContainer({ attributes, engine, config, localIp, clock, logger: this.logger });
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

  /** Handle of the container that this instance has or is about to have. */
  get handle(): string {
    return this.record?.handle ?? this.container.handle;
  }

  get hostPort(): number | null {
    return this.record?.ports.hostPort ?? null;
  }

  get record(): InstanceContainerRecord | undefined {
    return this.container.record;
  }

  get hasStartedProcess(): boolean {
    return this.process !== undefined;
  }

  get stats(): InstanceStats {
    return this.container.stats;
  }

  /** Host directory that is the container's root, while there is a container. */
  get rootDirectory(): string | undefined {
    return this.container.rootDirectory;
  }

  /** Host directory of the app user's home while there is a container. */
  get homeDirectory(): string | undefined {
    return this.container.homeDirectory;
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
    const isAdopted = await this.adopt(saved.record);
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
    // A hook may still run in there, and the start waits for it.
    await this.container.stop({ kill: true }).catch((error: unknown) => this.warn('droplet.crash-handler.stop', error));
    await this.starting;
    const logs = join(this.crashDirectory, 'logs');
    await mkdir(logs, { recursive: true });
    await this.container.keepLogs(logs).catch((error: unknown) => this.warn('droplet.crash-handler.no-logs', error));
    await this.container.destroy();
    await this.context.ledger.shrink(this.reservationId, { memoryMb: 0 });
  }

  /** Removes the container, if there is one, and gives the whole reservation back. */
  async dispose(): Promise<void> {
    await this.container.destroy();
    await this.context.ledger.release(this.reservationId);
  }

  /** Samples the container unless that was done just now. */
  collectStats(): Promise<void> {
    return this.container.collectStats();
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
    const [droplet] = await bothOrFirstError(
      droplets.acquire({ sha1: dropletSha1, url: dropletUri, signal }),
      this.container.create(dropletDirectory, signal),
    );
    this.process = await this.startProcess(droplet.path, dropletSha1, signal);
    this.context.onChange();
    this.link(this.process);
    const isHealthy = await this.container.waitUntilHealthy(signal);
    signal.throwIfAborted();
    if (!isHealthy) throw new UserFacingError('failed to accept connections within health check timeout');
    this.transition('RUNNING', ['STARTING']);
    await this.collectStats();
    await this.container.runHook(config.hooks.after_start, this.startedAt);
  }

  /** From the droplet to the app's process: two steps with a hook between them, or one for a droplet that is known. */
  private async startProcess(droplet: string, sha1: string, signal: AbortSignal): Promise<ContainerProcess> {
    const { knownDroplets, config } = this.context;
    const known = knownDroplets.stagingInfo(sha1);
    if (known !== undefined && config.hooks.before_start === undefined) {
      this.isUnpacking = true;
      return this.container.spawnApp(this.startedAt, { droplet, stagingInfo: known });
    }
    await this.container.install(droplet);
    signal.throwIfAborted();
    const stagingInfo = await this.container.stagingInfo();
    if (stagingInfo !== undefined) knownDroplets.remember(sha1, stagingInfo);
    await this.container.runHook(config.hooks.before_start, this.startedAt);
    signal.throwIfAborted();
    return this.container.spawnApp(this.startedAt);
  }

  private failStart(error: unknown): void {
    // A stop or the process's own exit came first and has told its cause.
    if (this.currentState !== 'STARTING' && this.currentState !== 'RUNNING') return;
    this.logger.warn('instance.start.failed', errorData(error));
    this.exitDescription = error instanceof UserFacingError ? error.message : 'failed to start';
    this.transition('CRASHED', ['STARTING', 'RUNNING']);
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
    const events = description ? [] : await this.container.pastEvents();
    const hasEvents = events !== undefined && events.length > 0;
    if (!hasEvents && this.isUnpacking && this.currentState === 'STARTING' && !(await this.container.hasBegunApp())) {
      this.failStart(new Error(`the droplet could not be extracted: exit status ${exitStatus}`));
      return;
    }
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

  private async adopt(saved: InstanceContainerRecord | undefined): Promise<boolean> {
    try {
      this.process = await this.container.adopt(saved);
      return true;
    } catch (error) {
      this.logger.info('instance.resume.without-container', errorData(error));
      return false;
    }
  }

  private async runStop(): Promise<void> {
    const { hooks } = this.context.config;
    this.startAbort.abort();
    await this.container.runHook(hooks.before_stop, this.startedAt);
    await this.container.stop();
    await this.starting;
    await this.container.runHook(hooks.after_stop, this.startedAt);
    this.transition('STOPPED', ['STOPPING']);
  }

  private get startedAt(): Date {
    return new Date(this.startedAtMs ?? this.context.clock());
  }

  private warn(message: string, error: unknown): void {
    this.logger.warn(message, errorData(error));
  }
}

/** Lets both run to their end, so that nothing goes on behind a failure's back. @throws the first error */
async function bothOrFirstError<A, B>(first: Promise<A>, second: Promise<B>): Promise<[A, B]> {
  const [a, b] = await Promise.allSettled([first, second]);
  if (a.status === 'rejected') throw a.reason;
  if (b.status === 'rejected') throw b.reason;
  return [a.value, b.value];
}

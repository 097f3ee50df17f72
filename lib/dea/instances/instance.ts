import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { DropletCache } from '../../cell/droplet-cache.js';
import type { Ledger } from '../../cell/ledger.js';
import type { ContainerEngine, ContainerProcess } from '../../containers/engine.js';
import { errorData, type Logger } from '../../logging/logger.js';
import { redactText } from '../../logging/redaction.js';
import type { Loggregator } from '../../loggregator/loggregator.js';
import type { DeaConfig } from '../config.js';
import { UserFacingError } from '../containers.js';
import type { AppLog } from '../logs/app-log.js';
import type { JobOutputs } from '../logs/job-output.js';
import type { InstanceState } from '../messages.js';
import { type InstanceAttributes, loggedAttributes } from './attributes.js';
import { HealthMonitor } from './health-monitor.js';
import { InstanceContainer, type InstanceContainerRecord } from './instance-container.js';
import { InstanceTimes } from './instance-times.js';
import type { KnownDroplets } from './known-droplets.js';
import { launch } from './launch.js';
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
  appLog: AppLog;
  outputs: JobOutputs;
  loggregator: Loggregator;
  logger: Logger;
  /** Milliseconds since 1970. */
  clock: () => number;
  /** Milliseconds of a clock that nobody sets. */
  monotonicClock: () => number;
  /** Told when what a snapshot remembers of an instance has changed without a change of state. */
  onChange(): void;
  /** Told after each change of state. */
  onTransition(instance: Instance, from: InstanceState, to: InstanceState): void;
  /** Told when an app answers that is being evacuated: there is no change of state, and it is to be routed. */
  onServing(instance: Instance): void;
}

/** States of an app that has not been stopped and has not ended. */
const livingStates: InstanceState[] = ['STARTING', 'RUNNING', 'EVACUATING'];

/** A required state is not the one that the instance is in. */
export class TransitionError extends Error {
  constructor(from: InstanceState, to: InstanceState) {
    super(`Cannot transition from "${from}" to "${to}"`);
  }
}

/** The app's time to begin to listen is up. */
class UnhealthyError extends UserFacingError {
  constructor() {
    super('failed to accept connections within health check timeout');
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
 *   BORN, STARTING, RUNNING --evacuate--> EVACUATING --exit--> CRASHED
 *   (snapshot) --> RESUMING --> the saved state; an app that was only starting becomes CRASHED
 *
 * A start in progress goes on while its instance is EVACUATING, which it stays: `isServing` tells when the app answers.
 */
export class Instance {
  private currentState: InstanceState = 'BORN';
  private readonly times: InstanceTimes;
  private readonly startAbort = new AbortController();
  private starting: Promise<void> | undefined;
  private stopping: Promise<void> | undefined;
  private readonly container: InstanceContainer;
  private process: ContainerProcess | undefined;
  /** The app's process extracts its droplet first. */
  private isUnpacking = false;
  private isHealthy = false;
  /** All its processes were ended by force: there is nothing left to run a hook in. */
  private isKilled = false;
  private readonly monitor: HealthMonitor;
  private readonly logger: Logger;

  exitStatus = -1;
  exitDescription = '';
  /** Whether an earlier agent saw the crash, and told of it. */
  wasCrashed = false;

  constructor(
    readonly attributes: InstanceAttributes,
    private readonly context: InstanceContext,
  ) {
    this.times = new InstanceTimes(context);
    this.times.enter('BORN');
    this.logger = context.logger.child(
      {
        app_guid: attributes.applicationId,
        instance_id: attributes.instanceId,
        instance_index: attributes.instanceIndex,
        attributes: loggedAttributes(attributes),
      },
      'Dea::Instance',
    );
    const { engine, config, localIp, outputs, monotonicClock } = context;
    this.container = new InstanceContainer({
      attributes,
      engine,
      config,
      localIp,
      outputs,
      monotonicClock,
      logger: this.logger,
    });
    this.monitor = new HealthMonitor({
      intervalMs: config.instance.health_check_interval_secs * 1000,
      isAnswering: (signal) => this.container.isAnswering(signal),
      onUnhealthy: () => this.crash(-1, 'app instance no longer accepts connections'),
    });
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
    return this.times.since(this.currentState);
  }

  /** Milliseconds since the present state was entered, however the host's clock was set meanwhile. */
  get stateAgeMs(): number {
    return this.times.stateAgeMs;
  }

  /** The states that the instance was in, each with the time it was entered last, milliseconds since 1970. */
  get stateTimestampsMs(): [state: InstanceState, timeMs: number][] {
    return this.times.entered;
  }

  /** When the instance was started, milliseconds since 1970; undefined before. */
  get startedAtMs(): number | undefined {
    return this.times.startedAtMs;
  }

  /** Milliseconds since the start; 0 before it. */
  get uptimeMs(): number {
    return this.times.uptimeMs;
  }

  /** Whether the app was found healthy and is to be routed: routers may know it from now on. */
  get isServing(): boolean {
    return this.isHealthy && (this.currentState === 'RUNNING' || this.currentState === 'EVACUATING');
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

  /** Whether a stop is under way. */
  get isStopping(): boolean {
    return this.stopping !== undefined;
  }

  /** Whether the app was found healthy once. */
  get wasHealthy(): boolean {
    return this.isHealthy;
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
    // An evacuation may have begun between the message and its reservation.
    if (this.currentState === 'EVACUATING') this.times.markStarted();
    else this.transition('STARTING', ['BORN']);
    this.logger.info('droplet.starting');
    this.starting = this.runStart(this.startAbort.signal).catch((error: unknown) => this.failStart(error));
    await this.starting;
  }

  /** Marks an instance that there is no room for (docs/protocol/dea.md §8.3). */
  refuse(description: string): void {
    this.exitDescription = description;
    this.context.appLog.instanceFailed(this.attributes, description);
    this.transition('CRASHED', ['BORN', 'EVACUATING']);
  }

  /**
   * Lets the app run on until it is stopped or its process ends; a start in progress goes on
   * (docs/protocol/dea.md §16.1).
   * @returns whether that changed anything
   */
  evacuate(): boolean {
    if (!['BORN', 'STARTING', 'RESUMING', 'RUNNING'].includes(this.currentState)) return false;
    this.transition('EVACUATING', ['BORN', 'STARTING', 'RESUMING', 'RUNNING']);
    return true;
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
    const wasServing = this.isServing;
    this.transition('STOPPING', ['STARTING', 'RUNNING', 'STOPPING', 'EVACUATING']);
    return this.beginStop(wasServing ? this.context.config.instance.drain_delay_secs * 1000 : 0);
  }

  /**
   * Ends all processes in the container at once, also hooks: for a stop that does not come to its end. Whoever waits
   * for that stop still does.
   */
  async kill(): Promise<void> {
    this.isKilled = true;
    await this.container.stop({ kill: true });
  }

  /**
   * Takes an instance over that an earlier agent left, in the state that the snapshot gives.
   */
  async resume(saved: {
    state: InstanceState;
    record: InstanceContainerRecord | undefined;
    startedAtMs: number | undefined;
    isHealthy: boolean;
  }): Promise<void> {
    this.transition('RESUMING', ['BORN']);
    if (saved.startedAtMs !== undefined) this.times.restoreStart(saved.startedAtMs);
    const isAdopted = await this.adopt(saved.record);
    if (saved.state === 'CRASHED') {
      this.wasCrashed = true;
      this.transition('CRASHED', ['RESUMING']);
      return;
    }
    const wasStarting = saved.state === 'STARTING' || (saved.state === 'EVACUATING' && !saved.isHealthy);
    if (saved.state !== 'STOPPING' && (wasStarting || !isAdopted || !this.process)) {
      this.exitDescription = wasStarting ? 'failed to start' : 'unknown';
      this.transition('CRASHED', ['RESUMING']);
      return;
    }
    if (saved.state === 'STOPPING') {
      this.transition('STOPPING', ['RESUMING']);
      // Its ten seconds are not the whole agent's.
      this.beginStop(0).catch((error: unknown) => this.warn('instance.resume.stop-failed', error));
      return;
    }
    this.transition(saved.state === 'EVACUATING' ? 'EVACUATING' : 'RUNNING', ['RESUMING']);
    this.serve();
    this.link(this.process!);
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

  /** Samples the container, and tells of what it uses (docs/protocol/dea.md §14). Never rejects. */
  async reportStats(): Promise<void> {
    await this.collectStats();
    const { cpu, memoryBytes, diskBytes, sampledAtMs } = this.stats;
    if (!Number.isFinite(sampledAtMs)) return;
    this.context.loggregator.emit({
      kind: 'ContainerMetric',
      applicationId: this.attributes.applicationId,
      instanceIndex: this.attributes.instanceIndex,
      cpuPercentage: cpu * 100,
      memoryBytes,
      diskBytes,
    });
  }

  /** Samples the container unless that was done just now. */
  collectStats(): Promise<void> {
    return this.container.collectStats();
  }

  private transition(to: InstanceState, from: InstanceState[]): void {
    const old = this.currentState;
    if (!from.includes(old)) throw new TransitionError(old, to);
    this.currentState = to;
    this.times.enter(to);
    if (to === 'STARTING') this.times.markStarted();
    if (to === 'RUNNING') this.isHealthy = true;
    if (to === 'STOPPING' || to === 'CRASHED') this.monitor.stop();
    this.context.onTransition(this, old, to);
  }

  /** The app answers, or did so for an earlier agent. */
  private serve(): void {
    if (!this.isHealthy) {
      this.isHealthy = true;
      this.context.onServing(this);
    }
    this.monitor.start();
  }

  private async runStart(signal: AbortSignal): Promise<void> {
    const { droplets, knownDroplets, config } = this.context;
    const { attributes, container, startedAt } = this;
    const launched = await launch({
      attributes,
      container,
      droplets,
      knownDroplets,
      beforeStartHook: config.hooks.before_start,
      startedAt,
      signal,
    });
    this.process = launched.process;
    this.isUnpacking = launched.isUnpacking;
    this.context.onChange();
    this.link(this.process);
    const isHealthy = await this.container.waitUntilHealthy(signal);
    signal.throwIfAborted();
    this.logger.info(isHealthy ? 'droplet.healthy' : 'droplet.unhealthy');
    if (!isHealthy) {
      this.context.appLog.instanceUnhealthy(this.attributes);
      throw new UnhealthyError();
    }
    if (this.currentState !== 'EVACUATING') this.transition('RUNNING', ['STARTING']);
    this.serve();
    await this.reportStats();
    await this.container.runHook(config.hooks.after_start, this.startedAt);
    this.logger.info('instance.start.completed');
  }

  private failStart(error: unknown): void {
    // A stop or the process's own exit came first and has told its cause.
    if (!livingStates.includes(this.currentState)) return;
    this.logger.warn('instance.start.failed', errorData(error));
    this.tellFailure(error);
    this.exitDescription = error instanceof UserFacingError ? error.message : 'failed to start';
    this.transition('CRASHED', livingStates);
  }

  /** Users learn why their app does not start; that it did not listen was told already. */
  private tellFailure(error: unknown): void {
    if (error instanceof UnhealthyError) return;
    this.context.appLog.instanceFailed(
      this.attributes,
      redactText(error instanceof Error ? error.message : String(error)),
    );
  }

  /** Learns of the app's end, which is a crash unless a stop is under way (docs/protocol/dea.md §11.3). */
  private link(appProcess: ContainerProcess): void {
    appProcess.wait().then(
      (exitStatus) => {
        this.logger.info('droplet.warden.link.completed', { exit_status: exitStatus });
        return this.handleExit(exitStatus);
      },
      (error: unknown) => {
        this.logger.warn('droplet.warden.link.failed', errorData(error));
        return this.handleExit(-1, 'unknown');
      },
    );
  }

  private async handleExit(exitStatus: number, description?: string): Promise<void> {
    const events = description ? [] : await this.container.pastEvents();
    const hasEvents = events !== undefined && events.length > 0;
    if (!hasEvents && this.isUnpacking && !this.isHealthy && !(await this.container.hasBegunApp())) {
      this.failStart(new Error(`the droplet could not be extracted: exit status ${exitStatus}`));
      return;
    }
    this.crash(exitStatus, description ?? events?.[0] ?? (events ? 'app instance exited' : 'cannot be determined'));
  }

  /** The first cause wins; during a stop there is none. */
  private crash(exitStatus: number, description: string): void {
    if (!livingStates.includes(this.currentState)) return;
    this.exitStatus = exitStatus;
    this.exitDescription = description;
    this.logger.warn('droplet.instance.crashed', {
      exit_status: exitStatus,
      exit_description: description,
      uptime: this.uptimeMs / 1000,
    });
    this.transition('CRASHED', livingStates);
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

  private beginStop(drainDelayMs: number): Promise<void> {
    this.stopping = this.runStop(drainDelayMs).finally(() => {
      this.stopping = undefined;
    });
    return this.stopping;
  }

  /** `drainDelayMs` lets requests come to their end that routers sent before they learnt of the stop. */
  private async runStop(drainDelayMs: number): Promise<void> {
    const { hooks } = this.context.config;
    this.logger.info('droplet.stopping');
    this.startAbort.abort();
    if (drainDelayMs > 0) await delay(drainDelayMs);
    await this.runStopHook(hooks.before_stop);
    await this.container.stop();
    await this.starting;
    await this.runStopHook(hooks.after_stop);
    this.transition('STOPPED', ['STOPPING']);
  }

  private async runStopHook(path: string | undefined): Promise<void> {
    if (this.isKilled) return;
    try {
      await this.container.runHook(path, this.startedAt);
    } catch (error) {
      if (!this.isKilled) throw error;
    }
  }

  private get startedAt(): Date {
    return new Date(this.startedAtMs ?? this.context.clock());
  }

  private warn(message: string, error: unknown): void {
    this.logger.warn(message, errorData(error));
  }
}

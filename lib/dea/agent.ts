import type { Bus } from '../bus/bus.js';
import type { ContainerEngine } from '../containers/engine.js';
import { errorData, type LogData, type Logger } from '../logging/logger.js';
import type { Component } from '../process/program.js';
import { Activity } from './activity.js';
import { newAgentId } from './agent-id.js';
import { type AgentParts, assemble } from './assembly.js';
import { countedLogger, type LogCounts } from './component/counted-logger.js';
import type { DeaConfig } from './config.js';
import { bailOutSeconds, Evacuation } from './evacuation.js';
import { InstanceRegistry } from './instances/instance-registry.js';
import { Intake } from './intake.js';
import { protocolVersion, routerStartSchema, subjects } from './messages.js';
import { PidFile } from './pid-file.js';
import { shutDown, step } from './shutdown.js';
import { StagingRegistry } from './staging/staging-registry.js';

export interface AgentOptions {
  config: DeaConfig;
  logger: Logger;
  /** Host directory of the builder's bundle. */
  builderDirectory: string;
}

/** How long a shutdown waits for a start that it interrupts. */
const startLimitMs = 15_000;

/**
 * The DEA front of a cell: a legacy Cloud Controller drives it over NATS. This file tells what there is and in which
 * order it starts and stops (docs/protocol/dea.md §1.2, §1.3, §16.2).
 */
export class Agent implements Component {
  readonly id: string;
  private readonly activity = new Activity();
  private readonly options: AgentOptions;
  private readonly logCounts: LogCounts;
  private readonly instances = new InstanceRegistry();
  private readonly stagingTasks = new StagingRegistry();
  private readonly intake = new Intake();
  private starting: Promise<void> | undefined;
  private stopping: Promise<void> | undefined;
  private heartbeatTimer: NodeJS.Timeout | undefined;
  private evacuation: Evacuation | undefined;
  private parts: AgentParts | undefined;
  /** Whether peers know of this agent, and have to be told when it goes. */
  private isAnnounced = false;
  private readonly pidFile: PidFile;

  private constructor(options: AgentOptions) {
    const { logger, counts } = countedLogger(options.logger, options.config.logging.level);
    this.options = { ...options, logger };
    this.logCounts = counts;
    this.id = newAgentId(options.config);
    this.pidFile = new PidFile(options.config.pid_filename);
  }

  static create(options: AgentOptions): Agent {
    return new Agent(options);
  }

  start(): Promise<void> {
    this.starting ??= this.runStart();
    return this.starting;
  }

  private async runStart(): Promise<void> {
    const { config, logger } = this.options;
    await this.pidFile.acquire();
    const { activity, logCounts, instances, stagingTasks, intake } = this;
    const parts = await assemble({
      ...this.options,
      agentId: this.id,
      activity,
      logCounts,
      instances,
      stagingTasks,
      intake,
      handleRouterStart: (body) => this.handleRouterStart(body),
    });
    this.parts = parts;
    if (this.stopping) return;
    parts.telemetry.start();
    await parts.engine.start();
    if (this.stopping) return;
    for (const { package_path } of config.stacks) this.prepareStack(parts.engine, package_path);
    await parts.droplets.start();
    await parts.files.start();
    await parts.bus.start();
    await this.resume(parts);
    if (this.stopping) return;
    parts.staging.start();
    await parts.fronts.start();
    parts.responders.start();
    parts.reapers.start();
    parts.locator.start();
    this.heartbeatTimer = setInterval(() => parts.heartbeat.send(), config.intervals.heartbeat * 1000);
    parts.telemetry.measure({ ledger: parts.ledger, instances: this.instances });
    parts.routes.every(config.intervals.router_register_in_seconds);
    parts.bus.onConnect(() => parts.routes.registerAll());
    this.announceStart(parts);
    this.isAnnounced = true;
    logger.info(`Starting with ${this.instances.all().length} instances`);
    logger.info('Dea started', { uuid: this.id });
  }

  /** In the background: an app that comes first waits for it, and no longer than it would have to anyway. */
  private prepareStack(engine: ContainerEngine, path: string): void {
    engine.prepare?.(path).catch((error: unknown) => {
      this.options.logger.warn('dea.stack.unusable', { path, ...errorData(error) });
    });
  }

  /** Orderly shutdown: apps and staging tasks are stopped, everything is given back. Idempotent. */
  stop(): Promise<void> {
    this.stopping ??= this.shutdown();
    return this.stopping;
  }

  /**
   * USR1: the Cloud Controller places nothing here any more, apps run on (docs/protocol/dea.md §16). While the agent
   * is starting, it waits for that.
   */
  async withdraw(): Promise<void> {
    await this.starting;
    if (this.stopping || !this.parts) return;
    this.parts.locator.stop();
    this.publishShutdown();
  }

  /**
   * USR2: apps are moved elsewhere; `onEnd` is called when the agent may stop. Idempotent: an evacuation under way goes
   * on (docs/protocol/dea.md §16.1). While the agent is starting, it waits for that.
   */
  async evacuate(onEnd: () => void): Promise<void> {
    await this.starting;
    const { parts } = this;
    if (this.stopping || !parts || this.evacuation) return;
    const { instances, stagingTasks, intake } = this;
    const { config, logger } = this.options;
    const { manager, heartbeat } = parts;
    intake.close('evacuating');
    parts.locator.stop();
    parts.responders.leaveStagingQueue();
    this.publishShutdown();
    clearInterval(this.heartbeatTimer);
    const bailOutMs = bailOutSeconds(config) * 1000;
    this.evacuation = new Evacuation({
      bailOutMs,
      instances,
      manager,
      stagingTasks,
      heartbeat,
      monotonicClock: () => performance.now(),
      onEnd,
      logger,
    });
    this.evacuation.start();
  }

  logSignal(signal: NodeJS.Signals, data: LogData = {}): void {
    this.options.logger.warn(`caught ${signal}`, data);
  }

  /** Brings back what an earlier agent left; what belongs to no instance any more is reclaimed. */
  private async resume(parts: AgentParts): Promise<void> {
    const saved = await parts.snapshot.load();
    parts.staging.tellInterrupted(saved.stagingTasks, (failure) => parts.fronts.reportInterrupted(failure));
    await parts.manager.resume(saved.instances);
    await parts.reapers.reclaimContainers();
    const live = new Set(this.instances.all().map(({ reservationId }) => reservationId));
    for (const { id, owner } of parts.ledger.list()) {
      if (owner !== 'rep' && !live.has(id)) await parts.ledger.release(id);
    }
    await parts.snapshot.save();
  }

  private announceStart({ bus, heartbeat, files, localIp }: AgentParts): void {
    const { legacy_protocols: protocols } = this.options.config;
    heartbeat.send();
    if (protocols.includes('dea.start')) {
      const { port } = files.firstDirectory ?? {};
      bus.publish(subjects.agentStarted, { id: this.id, ip: localIp, version: protocolVersion, port });
    }
    if (protocols.includes('router.greet')) this.greetRouters(bus);
  }

  private greetRouters(bus: Bus): void {
    bus.request(subjects.routerGreet, {}, { timeoutMs: 5000, maxReplies: 1 }).then(
      ([answer]) => this.handleRouterStart(answer),
      (error: unknown) => this.options.logger.debug('router.greet.failed', errorData(error)),
    );
  }

  private handleRouterStart(body: unknown): void {
    const { routes } = this.parts!;
    const advised = routerStartSchema.safeParse(body);
    const isHeard = advised.success && this.options.config.legacy_protocols.includes('router.greet');
    if (isHeard) routes.every(advised.data.minimumRegisterIntervalInSeconds);
    else routes.registerAll();
  }

  private publishShutdown(): void {
    this.parts?.bus.publish(subjects.shutdown, {
      id: this.id,
      ip: this.parts.localIp,
      version: protocolVersion,
      app_id_to_count: this.instances.countByApplication(),
    });
  }

  private async shutdown(): Promise<void> {
    const { logger } = this.options;
    // A start under way ends at its next step: what it is just setting up could not be given back before.
    await step('start', startLimitMs, async () => this.starting?.catch(() => {}), logger);
    if (this.parts) {
      await this.release(this.parts);
      logger.info('All instances and staging tasks stopped, exiting.');
    }
    await this.pidFile.release();
  }

  private async release(parts: AgentParts): Promise<void> {
    this.intake.close('shutting down');
    clearInterval(this.heartbeatTimer);
    this.evacuation?.stop();
    parts.routes.stop();
    parts.locator.stop();
    parts.responders.stop();
    parts.reapers.stop();
    if (this.isAnnounced) {
      this.publishShutdown();
      parts.router.unregisterDirectoryServer();
    }
    const drainDelayMs = this.options.config.instance.drain_delay_secs * 1000;
    await shutDown({ ...parts, instances: this.instances, drainDelayMs, logger: this.options.logger });
  }
}

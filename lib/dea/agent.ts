import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Bus } from '../bus/bus.js';
import { createNatsBus } from '../bus/nats-bus.js';
import { BuildpackCache } from '../cell/buildpack-cache.js';
import { DropletCache } from '../cell/droplet-cache.js';
import { createEngine } from '../cell/engine.js';
import { Ledger } from '../cell/ledger.js';
import type { ContainerEngine } from '../containers/engine.js';
import { errorData, type LogData, type Logger } from '../logging/logger.js';
import type { Component } from '../process/program.js';
import { type DeaConfig, engineKind, natsServers, unusedKeys } from './config.js';
import { fileRootsOf } from './file-roots.js';
import { FileServer } from './files/file-server.js';
import { Heartbeat } from './heartbeat.js';
import { InstanceManager } from './instances/instance-manager.js';
import { InstanceRegistry } from './instances/instance-registry.js';
import { KnownDroplets } from './instances/known-droplets.js';
import { localAddress } from './local-address.js';
import { protocolVersion, routerStartSchema, subjects } from './messages.js';
import { PidFile } from './pid-file.js';
import { Reapers } from './reapers.js';
import { Locator } from './responders/locator.js';
import { Responders } from './responders/responders.js';
import { RouterClient } from './router-client.js';
import { Snapshot } from './snapshot.js';
import { StagingManager } from './staging/staging-manager.js';
import { StagingRegistry } from './staging/staging-registry.js';
import { stagingLogPath } from './staging/staging-task.js';

export interface AgentOptions {
  config: DeaConfig;
  logger: Logger;
  /** Host directory of the builder's bundle. */
  builderDirectory: string;
}

const statsPeriodMs = 30_000;
/** Containers get 10 s to stop; what is not gone 20 s later is left to the next start (docs/protocol/dea.md §16.2). */
const shutdownLimitMs = 30_000;

/** Share of the cell's disk that cached droplets may take. */
const dropletCacheShare = 0.1;

/** Sub-directories of `base_dir` (docs/protocol/dea.md §1.6). */
const directoryNames = ['db', 'droplets', 'instances', 'tmp', 'staging', 'crashes', 'admin_buildpacks'] as const;

/**
 * The DEA front of a cell: a legacy Cloud Controller drives it over NATS. This file tells what there is and in which
 * order it starts and stops (docs/protocol/dea.md §1.2, §1.3, §16.2).
 */
export class Agent implements Component {
  readonly id = randomUUID();
  private readonly instances = new InstanceRegistry();
  private readonly stagingTasks = new StagingRegistry();
  private routerTimer: NodeJS.Timeout | undefined;
  private timers: NodeJS.Timeout[] = [];
  private stopping: Promise<void> | undefined;
  private parts: AgentParts | undefined;
  /** Whether peers know of this agent, and have to be told when it goes. */
  private isAnnounced = false;
  private readonly pidFile: PidFile;

  private constructor(private readonly options: AgentOptions) {
    this.pidFile = new PidFile(options.config.pid_filename);
  }

  static create(options: AgentOptions): Agent {
    return new Agent(options);
  }

  async start(): Promise<void> {
    const { config, logger } = this.options;
    await this.pidFile.acquire();
    for (const key of unusedKeys(config)) logger.warn('config.key.unused', { key, reason: 'docs/limits.md' });
    const parts = await this.assemble();
    this.parts = parts;
    if (this.stopping) return;
    await parts.engine.start();
    for (const { package_path } of config.stacks) this.prepareStack(parts.engine, package_path);
    await parts.droplets.start();
    await parts.files.start();
    await parts.bus.start();
    await this.resume(parts);
    if (this.stopping) return;
    parts.responders.start();
    parts.reapers.start();
    parts.locator.start();
    this.timers = [
      setInterval(() => parts.heartbeat.send(), config.intervals.heartbeat * 1000),
      setInterval(() => this.collectStats(), statsPeriodMs),
    ];
    this.registerRoutesEvery(config.intervals.router_register_in_seconds);
    parts.bus.onConnect(() => this.registerRoutes());
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

  /** USR1: the Cloud Controller places nothing here any more, apps run on (docs/protocol/dea.md §16). */
  withdraw(): void {
    this.publishShutdown();
    this.parts?.locator.stop();
  }

  logSignal(signal: NodeJS.Signals, data: LogData = {}): void {
    this.options.logger.warn(`caught ${signal}`, data);
  }

  private async assemble(): Promise<AgentParts> {
    const { config, logger, builderDirectory } = this.options;
    const path = (name: (typeof directoryNames)[number]) => join(config.base_dir, name);
    for (const name of directoryNames) await mkdir(path(name), { recursive: true, mode: 0o755 });
    await emptyDirectory(path('tmp'));
    await emptyDirectory(path('staging'));

    const clock = Date.now;
    const localIp = config.local_ip ?? (await localAddress());
    const bus = createNatsBus({ servers: natsServers(config), logger, name: `dea-${config.index}` });
    const engine = createEngine({
      kind: engineKind(config),
      settings: config.containers,
      wardenSocket: config.warden_socket,
      baseDirectory: config.base_dir,
      localIp,
      logger,
    });
    const { instances, stagingTasks } = this;
    const ledger = await Ledger.open({
      path: join(path('db'), 'ledger.json'),
      temporaryDirectory: path('tmp'),
      capacity: capacityOf(config),
    });
    const droplets = DropletCache.create({
      directory: path('droplets'),
      maxBytes: Math.floor(capacityOf(config).diskMb * 1024 * 1024 * dropletCacheShare),
      isReferenced: (sha1) => instances.all().some(({ attributes }) => attributes.dropletSha1?.toLowerCase() === sha1),
      clock,
      logger,
    });
    const buildpacks = BuildpackCache.create({ directory: path('admin_buildpacks'), logger });
    const directoryServer = { uuid: randomBytes(16).toString('hex'), key: randomBytes(16).toString('hex') };
    const files = FileServer.create({
      directoryServer: {
        host: config.directory_server.address,
        port: config.directory_server.v2_port,
        isExternal: config.directory_server.external,
      },
      fileApi: { port: config.directory_server.file_api_port },
      hostUuid: directoryServer.uuid,
      key: directoryServer.key,
      domain: config.domain,
      ...(config.directory_server.url_port !== undefined && { urlPort: config.directory_server.url_port }),
      protocol: config.directory_server.protocol,
      roots: fileRootsOf(instances, stagingTasks),
      streamingTimeoutMs: (config.directory_server.streaming_timeout || 60) * 1000,
      clock,
      logger,
    });
    const router = new RouterClient({
      bus,
      agentId: this.id,
      index: config.index,
      localIp,
      directoryServer: { uri: `${directoryServer.uuid}.${config.domain}`, port: () => files.directoryServerPort },
    });
    const heartbeat = new Heartbeat({ bus, agentId: this.id, instances });
    const snapshot: Snapshot = new Snapshot({
      path: join(path('db'), 'instances.json'),
      temporaryDirectory: path('tmp'),
      logger,
      clock,
      instances: () => instances.all(),
      stagingTasks: () => stagingTasks.all(),
    });
    const manager = new InstanceManager({
      context: {
        config,
        engine,
        ledger,
        droplets,
        knownDroplets: new KnownDroplets(),
        crashesDirectory: path('crashes'),
        localIp,
        logger,
        clock,
      },
      registry: instances,
      bus,
      router,
      heartbeat,
      snapshot,
      logger,
    });
    const staging = new StagingManager({
      context: {
        config,
        engine,
        ledger,
        droplets,
        buildpacks,
        stagingDirectory: path('staging'),
        adminBuildpacksDirectory: path('admin_buildpacks'),
        builderDirectory,
        logger,
        buildpackKeysInUse: () => stagingTasks.all().flatMap((task) => task.adminBuildpackKeys),
        logUrl: (taskId) => files.stagingLogUrl(taskId, stagingLogPath),
        onChange: () => snapshot.saveSoon(),
      },
      registry: stagingTasks,
      instances: manager,
      ledger,
      snapshot,
      logger,
    });
    const locator = new Locator({
      bus,
      agentId: this.id,
      config,
      ledger,
      instances,
      isolation: engine.isolation,
      logger,
    });
    const responders = new Responders({
      bus,
      config,
      ledger,
      instances,
      manager,
      staging,
      locator,
      heartbeat,
      find: {
        agentId: this.id,
        localIp,
        clock,
        fileUrl: (instanceId, filePath) => files.instanceFileUrl(instanceId, filePath),
      },
      handleRouterStart: (body) => this.handleRouterStart(body),
      logger,
    });
    const reapers = new Reapers({
      config,
      engine,
      instances,
      manager,
      stagingTasks,
      crashesDirectory: path('crashes'),
      clock,
      logger,
    });
    return {
      bus,
      engine,
      ledger,
      droplets,
      files,
      router,
      heartbeat,
      snapshot,
      manager,
      staging,
      locator,
      responders,
      reapers,
      localIp,
    };
  }

  /** Brings back what an earlier agent left; what belongs to no instance any more is reclaimed. */
  private async resume(parts: AgentParts): Promise<void> {
    await parts.manager.resume(await parts.snapshot.load());
    await parts.reapers.reclaimContainers();
    const live = new Set(this.instances.all().map(({ reservationId }) => reservationId));
    for (const { id, owner } of parts.ledger.list()) {
      if (owner !== 'rep' && !live.has(id)) await parts.ledger.release(id);
    }
    await parts.snapshot.save();
  }

  private announceStart({ bus, heartbeat, localIp }: AgentParts): void {
    const { legacy_protocols: protocols } = this.options.config;
    heartbeat.send();
    if (protocols.includes('dea.start')) {
      bus.publish(subjects.agentStarted, { id: this.id, ip: localIp, version: protocolVersion });
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
    this.registerRoutes();
    const advised = routerStartSchema.safeParse(body);
    if (!advised.success || !this.options.config.legacy_protocols.includes('router.greet')) return;
    this.registerRoutesEvery(advised.data.minimumRegisterIntervalInSeconds);
  }

  private registerRoutesEvery(seconds: number): void {
    if (this.stopping) return;
    clearInterval(this.routerTimer);
    this.routerTimer = setInterval(() => this.registerRoutes(), seconds * 1000);
    this.registerRoutes();
  }

  private registerRoutes(): void {
    if (this.stopping || !this.parts) return;
    const { router } = this.parts;
    for (const instance of this.instances.all()) {
      const isRouted = instance.state === 'RUNNING' || instance.state === 'EVACUATING';
      if (isRouted && instance.attributes.applicationUris.length > 0) router.registerInstance(instance);
    }
    router.registerDirectoryServer();
  }

  private collectStats(): void {
    for (const instance of this.instances.all()) {
      if (instance.state === 'RUNNING') void instance.collectStats();
    }
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
    if (this.parts) {
      await this.release(this.parts);
      logger.info('All instances and staging tasks stopped, exiting.');
    }
    await this.pidFile.release();
  }

  private async release(parts: AgentParts): Promise<void> {
    const { logger } = this.options;
    const attempt = (name: string, work: Promise<unknown>) =>
      work.catch((error: unknown) => logger.error(`shutdown.${name}.failed`, errorData(error)));
    for (const timer of [...this.timers, this.routerTimer]) clearInterval(timer);
    parts.locator.stop();
    parts.responders.stop();
    parts.reapers.stop();
    if (this.isAnnounced) {
      this.publishShutdown();
      parts.router.unregisterDirectoryServer();
    }
    await Promise.race([this.stopEverything(parts), delay(shutdownLimitMs, undefined, { ref: false })]);
    await attempt('droplets', parts.droplets.clear());
    await attempt('files', parts.files.stop());
    await attempt('bus', parts.bus.stop());
    await attempt('snapshot', parts.snapshot.save());
    await attempt('engine', parts.engine.release());
  }

  private async stopEverything(parts: AgentParts): Promise<void> {
    const { logger } = this.options;
    const stops = this.instances
      .all()
      .filter(({ state }) => state !== 'CRASHED')
      .map((instance) =>
        parts.manager
          .stopInstance(instance)
          .catch((error: unknown) => logger.warn(`Failed stopping instance ${instance.id}`, errorData(error))),
      );
    await Promise.all([parts.staging.shutdown(), ...stops]);
    await parts.manager.settle();
  }
}

interface AgentParts {
  bus: Bus;
  engine: ContainerEngine;
  ledger: Ledger;
  droplets: DropletCache;
  files: FileServer;
  router: RouterClient;
  heartbeat: Heartbeat;
  snapshot: Snapshot;
  manager: InstanceManager;
  staging: StagingManager;
  locator: Locator;
  responders: Responders;
  reapers: Reapers;
  localIp: string;
}

function capacityOf({ resources }: DeaConfig): { memoryMb: number; diskMb: number } {
  return {
    memoryMb: resources.memory_mb * resources.memory_overcommit_factor,
    diskMb: resources.disk_mb * resources.disk_overcommit_factor,
  };
}

async function emptyDirectory(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true });
  await mkdir(path, { mode: 0o755 });
}

import { randomBytes } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Bus } from '../bus/bus.js';
import { createNatsBus } from '../bus/nats-bus.js';
import { BuildpackCache } from '../cell/buildpack-cache.js';
import { DropletCache } from '../cell/droplet-cache.js';
import { createEngine } from '../cell/engine.js';
import { Ledger } from '../cell/ledger.js';
import { countedEngine } from '../containers/counted-engine.js';
import type { ContainerEngine } from '../containers/engine.js';
import { localAddress } from '../http/local-address.js';
import type { Logger } from '../logging/logger.js';
import type { Activity } from './activity.js';
import type { LogCounts } from './component/counted-logger.js';
import { type DeaConfig, engineKind, natsServers } from './config.js';
import { fileRootsOf } from './file-roots.js';
import { FileServer } from './files/file-server.js';
import { createHm9000Client, type Hm9000Client } from './health-manager/hm9000-client.js';
import { Heartbeat } from './heartbeat.js';
import { HttpFronts } from './http-fronts.js';
import { InstanceManager } from './instances/instance-manager.js';
import type { InstanceRegistry } from './instances/instance-registry.js';
import { KnownDroplets } from './instances/known-droplets.js';
import type { Intake } from './intake.js';
import { Reapers } from './reapers.js';
import { Locator } from './responders/locator.js';
import { Responders } from './responders/responders.js';
import { RouteRefresh } from './route-refresh.js';
import { RouterClient } from './router-client.js';
import { Snapshot } from './snapshot.js';
import { StagingManager } from './staging/staging-manager.js';
import type { StagingRegistry } from './staging/staging-registry.js';
import { stagingLogPath } from './staging/staging-script.js';
import { Telemetry } from './telemetry.js';

const monotonicClock = () => performance.now();

/** Share of the cell's disk that cached droplets may take. */
const dropletCacheShare = 0.1;

/** Sub-directories of `base_dir` (docs/protocol/dea.md §1.6). */
const directoryNames = ['db', 'droplets', 'instances', 'tmp', 'staging', 'crashes', 'admin_buildpacks'] as const;

/** What an agent is made of, beside what it owns itself. */
export interface AssemblyOptions {
  config: DeaConfig;
  logger: Logger;
  /** Host directory of the builder's bundle. */
  builderDirectory: string;
  agentId: string;
  activity: Activity;
  logCounts: LogCounts;
  instances: InstanceRegistry;
  stagingTasks: StagingRegistry;
  intake: Intake;
  /** Told what a router says when it starts. */
  handleRouterStart(body: unknown): void;
}

export interface AgentParts {
  bus: Bus;
  telemetry: Telemetry;
  engine: ContainerEngine;
  ledger: Ledger;
  droplets: DropletCache;
  files: FileServer;
  router: RouterClient;
  routes: RouteRefresh;
  heartbeat: Heartbeat;
  hm9000: Hm9000Client | undefined;
  snapshot: Snapshot;
  manager: InstanceManager;
  staging: StagingManager;
  fronts: HttpFronts;
  locator: Locator;
  responders: Responders;
  reapers: Reapers;
  localIp: string;
}

/**
 * Makes the parts of an agent and the directories that they work in (docs/protocol/dea.md §1.2). Nothing is started
 * yet, and nothing has gone over a network.
 * @throws when a directory or the ledger cannot be used
 */
export async function assemble(options: AssemblyOptions): Promise<AgentParts> {
  const { config, logger, builderDirectory, agentId, activity, instances, stagingTasks, intake } = options;
  const path = (name: (typeof directoryNames)[number]) => join(config.base_dir, name);
  for (const name of directoryNames) await mkdir(path(name), { recursive: true, mode: 0o755 });
  await emptyDirectory(path('tmp'));
  await emptyDirectory(path('staging'));

  const clock = Date.now;
  const localIp = config.local_ip ?? (await localAddress());
  const bus = createNatsBus({ servers: natsServers(config), logger, name: `dea-${config.index}` });
  const telemetry = Telemetry.create({ config, clock, logger });
  const { appLog, outputs, loggregator } = telemetry;
  const engine = countedEngine(
    createEngine({
      kind: engineKind(config),
      settings: config.containers,
      wardenSocket: config.warden_socket,
      baseDirectory: config.base_dir,
      localIp,
      logger,
    }),
    (method, seconds, isOk) => {
      activity.engineCalled(method, seconds, isOk);
      telemetry.engineCalled(seconds, isOk);
    },
  );
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
    firstDirectoryServer: config.directory_server.v1_port
      ? { host: config.directory_server.address, port: config.directory_server.v1_port, shownHost: localIp }
      : undefined,
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
    agentId,
    index: config.index,
    localIp,
    isPortServing: (port) => instances.hasServing(port),
    directoryServer: { uri: `${directoryServer.uuid}.${config.domain}`, port: () => files.directoryServerPort },
  });
  const routes = new RouteRefresh({ router, instances });
  const hm9000 = createHm9000Client({ config, logger, onResult: (isOk) => activity.heartbeat('https', isOk) });
  const heartbeat = new Heartbeat({
    bus,
    agentId,
    instances,
    isOnBus: config.legacy_protocols.includes('dea.heartbeat'),
    hm9000,
    onPublish: () => activity.heartbeat('nats'),
  });
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
      appLog,
      outputs,
      loggregator,
      logger,
      clock,
      monotonicClock,
    },
    registry: instances,
    bus,
    router,
    heartbeat,
    snapshot,
    intake,
    activity,
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
      appLog,
      outputs,
      logger,
      buildpackKeysInUse: () => stagingTasks.all().flatMap((task) => task.adminBuildpackKeys),
      logUrl: (taskId) => files.stagingLogUrl(taskId, stagingLogPath),
      onChange: () => snapshot.saveSoon(),
    },
    registry: stagingTasks,
    instances: manager,
    ledger,
    snapshot,
    intake,
    activity,
    logger,
  });
  const isAccepting = () => intake.isOpen;
  const fronts = new HttpFronts({
    config,
    agentId,
    localIp,
    bus,
    manager,
    staging,
    isAccepting,
    component: { config, ledger, engine, instances, activity, logCounts: options.logCounts },
    logger,
  });
  const locator = new Locator({
    bus,
    agentId,
    config,
    ledger,
    instances,
    isolation: engine.isolation,
    url: () => fronts.url,
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
      agentId,
      localIp,
      clock,
      fileUrl: (instanceId, filePath) => files.instanceFileUrl(instanceId, filePath),
      firstDirectory: () => files.firstDirectory,
    },
    isAccepting,
    handleRouterStart: options.handleRouterStart,
    logger,
  });
  const reapers = new Reapers({
    config,
    engine,
    ledger,
    instances,
    manager,
    stagingTasks,
    crashesDirectory: path('crashes'),
    appLog,
    logger,
  });
  return {
    bus,
    telemetry,
    engine,
    ledger,
    droplets,
    files,
    router,
    routes,
    heartbeat,
    hm9000,
    snapshot,
    manager,
    staging,
    fronts,
    locator,
    responders,
    reapers,
    localIp,
  };
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

import { join, resolve } from 'node:path';
import { type Request, type Response, Router } from 'express';
import { createNatsBus } from '../bus/nats-bus.js';
import { removeTargetFile, type Target, writeTargetFile } from '../config/target-file.js';
import type { Logger } from '../logging/logger.js';
import type { MessageContext } from './agents/app-messages.js';
import { CrashRecorder } from './agents/crash-recorder.js';
import { DeaClient } from './agents/dea-client.js';
import { InstanceReport } from './agents/instance-report.js';
import { AppController } from './apps/app-controller.js';
import { Blobstore } from './blobs/blobstore.js';
import { installBuiltInBuildpacks } from './blobs/built-in-buildpacks.js';
import type { MiniCcConfig } from './config.js';
import { requireBearerToken } from './http/authentication.js';
import { buildpacksApi } from './http/buildpacks-api.js';
import { clientApi } from './http/client-api.js';
import { HttpServer } from './http/server.js';
import { stagingApi } from './http/staging-api.js';
import { type EgressRule, subjects } from './messages.js';
import { Cells } from './placement/cells.js';
import { loadOrCreateSecrets } from './secrets.js';
import { Stager } from './staging/stager.js';
import { AppStore } from './store/app-store.js';
import { BuildpackStore } from './store/buildpack-store.js';
import { openDatabase } from './store/database.js';
import { EventStore } from './store/event-store.js';
import { JobStore } from './store/job-store.js';
import { Urls } from './urls.js';

export interface MiniCcOptions {
  config: MiniCcConfig;
  logger: Logger;
  /** Takes another free port when `external_port` is taken. @default false */
  portFallback?: boolean;
  /** Milliseconds since 1970. @default Date.now */
  now?: () => number;
  /** From 0 up to, without, 1. @default Math.random */
  random?: () => number;
}

/** One organisation, one space, one user. */
const spaceName = 'dev';
const apiVersion = '2.33.0';
const bytesPerMegabyte = 1024 * 1024;

/**
 * A miniature legacy Cloud Controller: NATS towards agents, HTTP towards agents and users, blobs and a database on
 * disk (docs/protocol/legacy-cc.md §12).
 */
export class MiniCc {
  /** What has been started, to be stopped in the opposite order. */
  private readonly releases: (() => void | Promise<void>)[] = [];
  private running: { url: string; token: string; cells: Cells } | undefined;

  private constructor(private readonly options: MiniCcOptions) {}

  static create(options: MiniCcOptions): MiniCc {
    return new MiniCc(options);
  }

  /** Base URL of the API. @throws unless it is started */
  get url(): string {
    return this.started().url;
  }

  /** What the command line needs to reach this program. @throws unless it is started */
  get target(): Target {
    const { url, token } = this.started();
    return { url, token, router: this.options.config.router_url };
  }

  /** Ids of the cells that instances can be placed on now. @throws unless it is started */
  get cellIds(): string[] {
    return this.started()
      .cells.list()
      .map(({ id }) => id);
  }

  /** @throws when the data directory, a buildpack or the port cannot be used; nothing is left running then */
  async start(): Promise<void> {
    try {
      await this.startParts();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Idempotent. */
  async stop(): Promise<void> {
    for (let release = this.releases.pop(); release; release = this.releases.pop()) await release();
    this.running = undefined;
  }

  private started(): NonNullable<MiniCc['running']> {
    if (!this.running) throw new Error('mini-cc is not started');
    return this.running;
  }

  private async startParts(): Promise<void> {
    const { config, logger, now = Date.now, random = Math.random } = this.options;
    const directory = resolve(config.data_directory);

    const database = openDatabase(join(directory, 'mini-cc.db'));
    this.releases.push(() => void database.close());
    const secrets = await loadOrCreateSecrets(join(directory, 'secrets.json'));
    const token = config.client_token ?? secrets.client_token;
    const { user, password } = config.staging.auth ?? { user: 'staging_user', password: secrets.staging_password };

    const apps = new AppStore(database, now);
    const events = new EventStore(database, now);
    const buildpacks = new BuildpackStore(database, now);
    const jobs = new JobStore({ database, logger, now });
    jobs.start();
    this.releases.push(() => jobs.stop());

    const blobs = new Blobstore(join(directory, 'blobs'));
    await blobs.start();
    const maximumBuildpackBytes = config.maximum_buildpack_size_mb * bytesPerMegabyte;
    await installBuiltInBuildpacks(config.buildpacks, {
      buildpacks,
      blobs,
      maximumBytes: maximumBuildpackBytes,
      logger,
    });

    const server = new HttpServer({
      host: config.bind_address,
      port: config.external_port,
      portFallback: this.options.portFallback ?? false,
      logger,
    });
    await server.bind();
    this.releases.push(() => server.stop());
    const address = `${config.advertised_host ?? config.bind_address}:${server.port}`;
    const urls = new Urls({
      protocol: config.external_protocol,
      address,
      externalDomain: config.external_domain,
      user,
      password,
    });

    const bus = createNatsBus({ servers: config.message_bus_servers, logger, name: 'mini-cc' });
    await bus.start();
    this.releases.push(() => bus.stop());
    const cells = new Cells({
      bus,
      advertisementTimeoutMs: config.dea_advertisement_timeout_in_seconds * 1000,
      minimumStagingMemoryMb: config.staging.minimum_staging_memory_mb,
      minimumStagingDiskMb: config.staging.minimum_staging_disk_mb,
      logger,
      now,
      random,
      onNewStager: () => {
        const links = stager.buildpackLinks().map(({ key, url }) => ({ key, url }));
        bus.publish(subjects.buildpacks, links);
      },
    });
    const context = messageContext(config, secrets.space_guid);
    const deas = new DeaClient({
      bus,
      cells,
      urls,
      context,
      findTimeoutMs: config.find_timeout_in_seconds * 1000,
      logger,
    });
    const stager = new Stager({
      bus,
      cells,
      apps,
      buildpacks,
      events,
      blobs,
      urls,
      context,
      replyTimeoutMs: config.staging.timeout_in_seconds * 1000,
      expirationMs: config.pending_packages.expiration_in_seconds * 1000,
      expirationCheckMs: config.pending_packages.frequency_in_seconds * 1000,
      disableCustomBuildpacks: config.disable_custom_buildpacks,
      logger,
      now,
      onStaged: (app, startsFirst) => controller.startStaged(app, startsFirst),
    });
    const controller = new AppController({ apps, events, blobs, stager, deas, rules: appRules(config), logger });
    const report = new InstanceReport({ deas, events, now });
    const crashes = new CrashRecorder({ bus, apps, events, logger });

    cells.start();
    this.releases.push(() => cells.stop());
    crashes.start();
    this.releases.push(() => crashes.stop());
    stager.start();
    this.releases.push(() => stager.stop());

    const authenticated = Router();
    authenticated.use(requireBearerToken(token));
    authenticated.use(
      clientApi({
        apps,
        events,
        blobs,
        jobs,
        cells,
        controller,
        report,
        maximumPackageBytes: config.maximum_package_size_mb * bytesPerMegabyte,
      }),
      buildpacksApi({ buildpacks, blobs, maximumBytes: maximumBuildpackBytes }),
    );
    server.serve([
      infoApi(config),
      // Before the client API: agents fetch buildpacks below /v2 with credentials of their own.
      stagingApi({
        apps,
        buildpacks,
        blobs,
        jobs,
        controller,
        urls,
        user,
        password,
        maximumDropletBytes: config.maximum_droplet_size_mb * bytesPerMegabyte,
      }),
      Router().use('/v2', authenticated),
    ]);

    this.running = { url: `http://${address}`, token, cells };
    if (config.write_target_file) await this.writeTarget();
    logger.info('mini-cc.started', { url: this.running.url });
  }

  private async writeTarget(): Promise<void> {
    const { target } = this;
    await writeTargetFile(target);
    this.releases.push(() => removeTargetFile(target.url));
  }
}

function messageContext(config: MiniCcConfig, spaceGuid: string): MessageContext {
  const rulesOf = (names: string[]): EgressRule[] =>
    config.security_group_definitions.filter(({ name }) => names.includes(name)).flatMap(({ rules }) => rules);
  return {
    ccPartition: config.cc_partition,
    spaceName,
    spaceGuid,
    runningEnvironment: config.running_environment_variables,
    stagingEnvironment: config.staging_environment_variables,
    runningRules: rulesOf(config.default_running_security_groups),
    stagingRules: rulesOf(config.default_staging_security_groups),
    minimumStagingFileDescriptors: config.staging.minimum_staging_file_descriptor_limit,
  };
}

function appRules(config: MiniCcConfig) {
  return {
    defaultStack: config.default_stack,
    defaultMemory: config.default_app_memory,
    defaultDisk: config.default_app_disk_in_mb,
    maximumDisk: config.maximum_app_disk_in_mb,
    fileDescriptors: config.instance_file_descriptor_limit,
    maximumHealthCheckTimeout: config.maximum_health_check_timeout,
  };
}

/** What clients may know before they have a token. */
function infoApi(config: MiniCcConfig): Router {
  const info = {
    name: 'isthmus mini-cc',
    version: 2,
    api_version: apiVersion,
    domain: config.domain,
    router: config.router_url ?? null,
    default_health_check_timeout: config.default_health_check_timeout,
    maximum_health_check_timeout: config.maximum_health_check_timeout,
  };
  return Router().get('/v2/info', (_request: Request, response: Response) => void response.json(info));
}

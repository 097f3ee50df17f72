import { join, resolve } from 'node:path';
import { createNatsBus } from '../bus/nats-bus.js';
import { removeTargetFile, type Target, writeTargetFile } from '../config/target-file.js';
import type { Logger } from '../logging/logger.js';
import { type Access, loadAccess } from './assembly/access.js';
import { startControl } from './assembly/control.js';
import { Releases } from './assembly/releases.js';
import { allRoutes } from './assembly/routes.js';
import { openStores, type Stores } from './assembly/stores.js';
import type { MiniCcConfig } from './config.js';
import { requireBearerToken } from './http/authentication.js';
import { HttpServer } from './http/server.js';
import { LogReceiver } from './logs/log-receiver.js';
import type { Cells } from './placement/cells.js';
import { TestDouble } from './test-double/test-double.js';
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

/**
 * A miniature legacy Cloud Controller: NATS towards agents, HTTP towards agents and users, blobs and a database on
 * disk (docs/protocol/legacy-cc.md §12).
 */
export class MiniCc {
  private readonly releases = new Releases();
  private running: { url: string; token: string; cells: Cells; receiver: LogReceiver } | undefined;

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

  /** UDP port that cells send app logs to; undefined when it was taken. @throws unless it is started */
  get logPort(): number | undefined {
    return this.started().receiver.port;
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
    await this.releases.run();
    this.running = undefined;
  }

  private started(): NonNullable<MiniCc['running']> {
    if (!this.running) throw new Error('mini-cc is not started');
    return this.running;
  }

  private async startParts(): Promise<void> {
    const { config, logger, now = Date.now, random = Math.random } = this.options;
    const { releases } = this;
    const directory = resolve(config.data_directory);
    const stores = await openStores({ config, directory, logger, now, releases });
    const access = await loadAccess(config, join(directory, 'secrets.json'));
    const { server, urls } = await this.bindServer(access);
    const receiver = await this.startReceiver(stores);

    const double = config.test_double ? new TestDouble({ logger, now }) : undefined;
    const natsBus = createNatsBus({ servers: config.message_bus_servers, logger, name: 'mini-cc' });
    const bus = double?.wrap(natsBus) ?? natsBus;
    await bus.start();
    releases.add(() => bus.stop());
    const interceptor = double?.recordRequests;
    const control = startControl({ config, access, stores, bus, urls, interceptor, logger, now, random, releases });

    const routes = allRoutes({ config, access, stores, control, urls, receiver });
    const { cells } = control;
    const authenticate = requireBearerToken(access.token);
    server.serve(double ? [double.routes({ authenticate, expire: (id) => cells.expire(id) }), ...routes] : routes);

    this.running = { url: `http://${urls.address}`, token: access.token, cells, receiver };
    if (config.write_target_file) await this.writeTarget();
    logger.info('mini-cc.started', { url: this.running.url });
  }

  /** Requests wait until the server is given its routes. */
  private async bindServer({ staging }: Access): Promise<{ server: HttpServer; urls: Urls }> {
    const { config, logger, portFallback = false } = this.options;
    const { bind_address: host, external_port: port } = config;
    const server = new HttpServer({ host, port, portFallback, logger });
    await server.bind();
    this.releases.add(() => server.stop());
    const urls = new Urls({
      protocol: config.external_protocol,
      address: `${config.advertised_host ?? host}:${server.port}`,
      externalDomain: config.external_domain,
      ...staging,
    });
    return { server, urls };
  }

  private async startReceiver({ logs }: Stores): Promise<LogReceiver> {
    const { config, logger } = this.options;
    const receiver = new LogReceiver({
      host: config.loggregator.bind_address,
      port: config.loggregator.port,
      sharedSecret: config.loggregator.shared_secret,
      logger,
      onLine: (appGuid, line) => logs.add(appGuid, line),
    });
    await receiver.start();
    this.releases.add(() => receiver.stop());
    // Before the server, which cuts what does not end.
    this.releases.add(() => logs.stop());
    return receiver;
  }

  private async writeTarget(): Promise<void> {
    const { target } = this;
    await writeTargetFile(target);
    this.releases.add(() => removeTargetFile(target.url));
  }
}

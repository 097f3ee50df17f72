import { randomUUID, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Bus } from '../bus/bus.js';
import { createNatsBus } from '../bus/nats-bus.js';
import { errorData, type Logger } from '../logging/logger.js';
import type { Component } from '../process/program.js';
import { AccessLog } from './access-log.js';
import { natsServers, type RouterConfig } from './config.js';
import { type RegistryMessage, registryMessageSchema, type StartMessage, subjects } from './messages.js';
import { ReverseProxy } from './proxy.js';
import { addressOf, Registry } from './registry.js';

export interface RouterOptions {
  config: RouterConfig;
  logger: Logger;
  /** Takes another free port when the configured one is taken. @default false */
  portFallback?: boolean;
  /** Milliseconds since 1970. @default Date.now */
  clock?: () => number;
}

const maximumHeaderBytes = 1024 * 1024;
const idleConnectionMs = 900_000;

/**
 * A small HTTP and WebSocket router for development: fed by `router.register`, it stands in for gorouter
 * (docs/protocol/edge.md §1).
 */
export class Router implements Component {
  private readonly id: string;
  private readonly registry: Registry;
  private readonly bus: Bus;
  private readonly accessLog: AccessLog;
  private readonly proxy: ReverseProxy;
  private readonly servers: Server[] = [];
  private pruning: NodeJS.Timeout | undefined;
  private wasConnected = true;
  private isHealthy = false;
  private readonly stopped = new AbortController();
  private mainPort: number | undefined;

  private constructor(private readonly options: RouterOptions) {
    const { config, logger, clock = Date.now } = options;
    this.id = `${config.index}-${randomUUID()}`;
    this.registry = new Registry({ staleThresholdSeconds: config.droplet_stale_threshold, clock });
    this.bus = createNatsBus({ servers: natsServers(config), logger, name: `router-${config.index}` });
    this.accessLog = new AccessLog(config.access_log.file);
    this.proxy = new ReverseProxy({
      registry: this.registry,
      accessLog: this.accessLog,
      maxAttempts: config.max_attempts,
      dialTimeoutMs: config.endpoint_dial_timeout * 1000,
      endpointTimeoutMs: config.endpoint_timeout * 1000,
      ineligibleMs: (config.droplet_stale_threshold / 4) * 1000,
      certificateAuthorities: config.ca_certs,
      logger,
    });
  }

  static create(options: RouterOptions): Router {
    return new Router(options);
  }

  /** The port that requests are taken on; known once started. */
  get port(): number {
    return this.mainPort!;
  }

  /** Listens to the bus first and asks everybody to register last, so that no route is missed. */
  async start(): Promise<void> {
    const { config } = this.options;
    this.subscribe();
    this.bus.onConnect(() => this.announce());
    await this.bus.start();
    this.pruning = setInterval(() => this.prune(), config.prune_stale_droplets_interval * 1000);
    // The table fills before the first request comes.
    await delay(config.start_response_delay_interval * 1000, undefined, { signal: this.stopped.signal }).catch(
      () => {},
    );
    if (this.stopped.signal.aborted) return;
    this.mainPort = await this.listen(
      createServer(
        { maxHeaderSize: maximumHeaderBytes, keepAliveTimeout: idleConnectionMs, requestTimeout: 0 },
        (request, response) => this.handle(request, response),
      ).on('upgrade', (request, socket, head) => void this.proxy.handleUpgrade(request, socket, head)),
      config.ip,
      config.port,
    );
    if (config.status)
      await this.listen(
        createServer((request, response) => this.serveRoutes(request, response)),
        '127.0.0.1',
        config.status.port,
      );
    this.isHealthy = true;
  }

  async stop(): Promise<void> {
    this.stopped.abort();
    this.isHealthy = false;
    clearInterval(this.pruning);
    await Promise.all(
      this.servers.splice(0).map(async (server) => {
        const closed = once(server, 'close');
        server.close();
        server.closeAllConnections();
        await closed;
      }),
    );
    await this.bus.stop();
    await this.accessLog.stop();
  }

  private subscribe(): void {
    this.bus.subscribe(subjects.register, ({ data }) => this.register(data));
    this.bus.subscribe(subjects.unregister, ({ data }) => this.unregister(data));
    this.bus.subscribe(subjects.greet, ({ reply }) => reply(this.startMessage()));
  }

  private announce(): void {
    this.bus.publish(subjects.start, this.startMessage());
  }

  private startMessage(): StartMessage {
    const { config } = this.options;
    return {
      id: this.id,
      hosts: [config.ip],
      minimumRegisterIntervalInSeconds: config.start_response_delay_interval || 20,
      pruneThresholdInSeconds: config.droplet_stale_threshold,
    };
  }

  private register(data: unknown): void {
    const message = this.parse(data);
    for (const uri of message?.uris ?? []) this.registry.register(uri, message!.endpoint);
  }

  private unregister(data: unknown): void {
    const message = this.parse(data);
    for (const uri of message?.uris ?? []) this.registry.unregister(uri, message!.endpoint);
  }

  private parse(data: unknown): RegistryMessage | undefined {
    const parsed = registryMessageSchema.safeParse(data);
    if (parsed.success) return parsed.data;
    const problems = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
    this.options.logger.warn('validation-error', { problems });
    return undefined;
  }

  private prune(): void {
    const { config, logger } = this.options;
    if (config.suspend_pruning_if_nats_unavailable) {
      if (!this.bus.isConnected) {
        this.wasConnected = false;
        return;
      }
      if (!this.wasConnected) this.registry.refreshAll();
      this.wasConnected = true;
    }
    for (const { route, endpoint } of this.registry.prune()) {
      logger.info('pruned-route', { uri: route, endpoint: addressOf(endpoint) });
    }
  }

  private handle(request: IncomingMessage, response: ServerResponse): void {
    if (request.headers['user-agent'] === this.options.config.healthcheck_user_agent) {
      response.writeHead(this.isHealthy ? 200 : 503, {
        'Cache-Control': 'private, max-age=0',
        Expires: '0',
        Connection: 'close',
      });
      response.end(this.isHealthy ? 'ok\n' : '');
      return;
    }
    void this.proxy.handle(request, response);
  }

  private serveRoutes(request: IncomingMessage, response: ServerResponse): void {
    const { user, pass } = this.options.config.status!;
    const expected = `Basic ${Buffer.from(`${user}:${pass}`).toString('base64')}`;
    if (!isEqual(request.headers.authorization ?? '', expected)) {
      response.writeHead(401, { 'Www-Authenticate': 'Basic' }).end();
      return;
    }
    if (request.url !== '/routes') {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(this.registry.describe()));
  }

  private async listen(server: Server, host: string, wantedPort: number): Promise<number> {
    try {
      server.listen(wantedPort, host);
      await once(server, 'listening');
    } catch (error) {
      const isTaken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
      if (!isTaken || !this.options.portFallback) throw error;
      server.listen(0, host);
      await once(server, 'listening');
    }
    server.on('error', (error) => this.options.logger.error('http.server.error', errorData(error)));
    this.servers.push(server);
    return (server.address() as AddressInfo).port;
  }
}

function isEqual(given: string, expected: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)];
  return a.length === b.length && timingSafeEqual(a, b);
}

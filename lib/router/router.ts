import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { networkInterfaces } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type { Bus } from '../bus/bus.js';
import { createNatsBus } from '../bus/nats-bus.js';
import type { Logger } from '../logging/logger.js';
import type { Component } from '../process/program.js';
import { AccessLog } from './access-log.js';
import { natsServers, type RouterConfig, takesSegment } from './config.js';
import { FrontEnd } from './front-end.js';
import { type Registration, registryMessageSchema, type StartMessage, subjects } from './messages.js';
import { addressOf } from './pool.js';
import { Forwarder } from './proxy/forwarder.js';
import { ReverseProxy } from './proxy/reverse-proxy.js';
import { Registry } from './registry.js';
import { answerHealth, Status } from './status.js';

export interface RouterOptions {
  config: RouterConfig;
  logger: Logger;
  /** Takes another free port when a configured one is taken. @default false */
  portFallback?: boolean;
  /** Milliseconds since 1970. @default Date.now */
  clock?: () => number;
}

/** Told to clients when the router itself waits for nobody. */
const defaultRegisterIntervalSeconds = 20;
const statusHost = '127.0.0.1';

/**
 * A small HTTP and WebSocket router for development: fed by `router.register`, it stands in for gorouter
 * (docs/protocol/edge.md §1).
 */
export class Router implements Component {
  private readonly id: string;
  private readonly address: string;
  private readonly registry: Registry;
  private readonly bus: Bus;
  private readonly accessLog: AccessLog;
  private readonly frontEnd: FrontEnd;
  private readonly statusEnd: FrontEnd | undefined;
  private readonly stopped = new AbortController();
  private starting: Promise<void> | undefined;
  private stopping: Promise<void> | undefined;
  private pruning: NodeJS.Timeout | undefined;
  private isServing = false;

  private constructor(private readonly options: RouterOptions) {
    const { config, logger, clock = Date.now } = options;
    this.id = `${config.index}-${randomUUID()}`;
    this.address = config.ip === '0.0.0.0' ? outwardAddress() : config.ip;
    this.registry = new Registry({
      staleThresholdSeconds: config.droplet_stale_threshold,
      emptyPoolSeconds: config.empty_pool_response_code_503 ? config.empty_pool_timeout : 0,
      balancing: config.balancing_algorithm,
      maximumConnections: config.backends.max_conns,
      clock,
    });
    this.bus = createNatsBus({ servers: natsServers(config), logger, name: `router-${config.index}` });
    this.accessLog = new AccessLog({ file: config.access_log.file, logger });
    this.frontEnd = this.createFrontEnd(this.createProxy());
    this.statusEnd = config.status && this.createStatusEnd(config.status);
  }

  static create(options: RouterOptions): Router {
    return new Router(options);
  }

  /** The port that requests are taken on; known once started. */
  get port(): number {
    return this.frontEnd.port;
  }

  /** The port of `/health` and `/routes`; known once started, undefined without a `status` section. */
  get statusPort(): number | undefined {
    return this.statusEnd?.port;
  }

  /**
   * Listens to the bus, lets the table fill, and only then takes requests.
   *
   * @throws when a port cannot be had; nothing is left running then
   */
  async start(): Promise<void> {
    this.starting ??= this.startParts();
    try {
      await this.starting;
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Gives requests their time to end. Idempotent. */
  stop(): Promise<void> {
    this.stopping ??= this.stopParts();
    return this.stopping;
  }

  private async startParts(): Promise<void> {
    const { config } = this.options;
    this.accessLog.start();
    await this.statusEnd?.start();
    this.subscribe();
    // Subscriptions are made before: whoever answers the announcement is heard.
    this.bus.onConnect(() => this.announce());
    await this.bus.start();
    this.pruning = setInterval(() => this.prune(), config.prune_stale_droplets_interval * 1000);
    await delay(config.start_response_delay_interval * 1000, undefined, { signal: this.stopped.signal }).catch(
      () => {},
    );
    if (this.stopped.signal.aborted) return;
    await this.frontEnd.start();
    this.isServing = true;
    this.options.logger.info('router.started', { address: config.ip, port: this.port });
  }

  private async stopParts(): Promise<void> {
    this.stopped.abort();
    this.isServing = false;
    clearInterval(this.pruning);
    // A start that is under way ends by itself, and must not bring up what is being stopped.
    await this.starting?.catch(() => {});
    await this.frontEnd.stop();
    await this.bus.stop();
    await this.statusEnd?.stop();
    await this.accessLog.stop();
  }

  private createProxy(): ReverseProxy {
    const { config, logger } = this.options;
    const forwarder = new Forwarder({
      maximumAttempts: config.backends.max_attempts,
      ineligibleMs: (config.droplet_stale_threshold / 4) * 1000,
      dialTimeoutMs: config.endpoint_dial_timeout * 1000,
      handshakeTimeoutMs: config.tls_handshake_timeout * 1000,
      certificateAuthorities: config.ca_certs,
      headerRules: {
        sanitizeForwardedProto: config.sanitize_forwarded_proto,
        forceForwardedProtoHttps: config.force_forwarded_proto_https,
        forwardedClientCert: config.forwarded_client_cert,
      },
      logger,
    });
    return new ReverseProxy({
      forwarder,
      registry: this.registry,
      accessLog: this.accessLog,
      exchangeTimeoutMs: config.endpoint_timeout * 1000,
      sessionCookieNames: config.sticky_session_cookie_names,
      isAlwaysSecure: config.secure_cookies,
      answersEmptyPoolWith503: config.empty_pool_response_code_503,
      traceKey: config.trace_key,
      routerAddress: this.address,
      logger,
    });
  }

  private createFrontEnd(proxy: ReverseProxy): FrontEnd {
    const { config, logger, portFallback = false } = this.options;
    return new FrontEnd({
      host: config.ip,
      port: config.port,
      portFallback,
      maximumHeaderBytes: config.max_header_bytes,
      idleTimeoutMs: config.frontend_idle_timeout * 1000,
      drainTimeoutMs: config.drain_timeout * 1000,
      handle: (request, response) => this.handle(proxy, request, response),
      handleUpgrade: (request, socket, head) => void proxy.handleUpgrade(request, socket, head),
      logger,
    });
  }

  private createStatusEnd({ port, user, pass }: NonNullable<RouterConfig['status']>): FrontEnd {
    const { logger, portFallback = false } = this.options;
    const isHealthy = () => this.isServing;
    const status = new Status({ registry: this.registry, user, password: pass, isHealthy });
    return new FrontEnd({
      host: statusHost,
      port,
      portFallback,
      maximumHeaderBytes: 16 * 1024,
      idleTimeoutMs: 5000,
      drainTimeoutMs: 0,
      handle: (request, response) => status.handle(request, response),
      logger,
    });
  }

  private handle(proxy: ReverseProxy, request: IncomingMessage, response: ServerResponse): void {
    if (request.headers['user-agent'] === this.options.config.healthcheck_user_agent) {
      answerHealth(response, this.isServing);
    } else {
      void proxy.handle(request, response);
    }
  }

  private subscribe(): void {
    this.bus.subscribe(subjects.register, ({ data }) => this.register(data));
    this.bus.subscribe(subjects.unregister, ({ data }) => this.unregister(data));
    this.bus.subscribe(subjects.greet, ({ reply }) => reply(this.startMessage()));
  }

  private announce(): void {
    // Nobody could refresh while the bus was away.
    if (this.options.config.suspend_pruning_if_nats_unavailable) this.registry.refreshAll();
    this.bus.publish(subjects.start, this.startMessage());
  }

  private startMessage(): StartMessage {
    const { config } = this.options;
    return {
      id: this.id,
      hosts: [this.address],
      minimumRegisterIntervalInSeconds: config.start_response_delay_interval || defaultRegisterIntervalSeconds,
      pruneThresholdInSeconds: config.droplet_stale_threshold,
    };
  }

  private register(data: unknown): void {
    const registration = this.parse(data, subjects.register);
    if (!registration) return;
    const { uris, endpoint } = registration;
    if (endpoint.port === 0) {
      this.refuse(subjects.register, ['port: missing']);
      return;
    }
    for (const uri of uris) {
      const isNew = this.registry.register(uri, endpoint);
      if (isNew) this.options.logger.info('endpoint-registered', describe(uri, endpoint));
    }
  }

  private unregister(data: unknown): void {
    const registration = this.parse(data, subjects.unregister);
    if (!registration) return;
    const { uris, endpoint } = registration;
    for (const uri of uris) {
      const wasThere = this.registry.unregister(uri, endpoint);
      if (wasThere) this.options.logger.info('endpoint-unregistered', describe(uri, endpoint));
    }
  }

  /** Undefined for what is malformed, and for what other routers are there for. */
  private parse(data: unknown, subject: string): Registration | undefined {
    const parsed = registryMessageSchema.safeParse(data);
    if (parsed.success) {
      return takesSegment(this.options.config, parsed.data.endpoint.isolationSegment) ? parsed.data : undefined;
    }
    this.refuse(
      subject,
      parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`),
    );
    return undefined;
  }

  private refuse(subject: string, problems: string[]): void {
    this.options.logger.warn('validation-error', { subject, problems });
  }

  private prune(): void {
    const { config, logger } = this.options;
    if (config.suspend_pruning_if_nats_unavailable && !this.bus.isConnected) return;
    for (const { uri, endpoint } of this.registry.prune()) logger.info('pruned-route', describe(uri, endpoint));
  }
}

function describe(uri: string, endpoint: Parameters<typeof addressOf>[0] & { app: string }) {
  return { uri, endpoint: addressOf(endpoint), app: endpoint.app };
}

/** The first IPv4 address of this machine that others may reach; it only names the router in messages. */
function outwardAddress(): string {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return addresses.find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? '127.0.0.1';
}

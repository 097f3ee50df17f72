import type { Bus } from '../bus/bus.js';
import { errorData, type Logger } from '../logging/logger.js';
import { StagingCompletions } from './cloud-controller/staging-completions.js';
import { ComponentRegistration } from './component/component-registration.js';
import type { ComponentState } from './component/component-state.js';
import type { DeaConfig } from './config.js';
import { HttpApi } from './http-api/http-api.js';
import { serverTls } from './http-api/server-tls.js';
import type { InstanceManager } from './instances/instance-manager.js';
import { type StagingFailure, stagingIdsOf } from './messages.js';
import type { StagingManager } from './staging/staging-manager.js';

export interface HttpFrontsOptions {
  config: DeaConfig;
  agentId: string;
  localIp: string;
  bus: Bus;
  manager: InstanceManager;
  staging: StagingManager;
  /** Whether the agent takes work; it does not while it evacuates or shuts down. */
  isAccepting(): boolean;
  component: ComponentState;
  logger: Logger;
}

/**
 * The agent's faces over HTTP, each of them only when the configuration asks for it: the HTTPS interface for late
 * Cloud Controllers with the completions that go back to them (docs/protocol/dea.md §6), and the component's pages for
 * early collectors (§22.3).
 */
export class HttpFronts {
  private readonly completions: StagingCompletions | undefined;
  private readonly api: HttpApi | undefined;
  private readonly component: ComponentRegistration | undefined;

  constructor(private readonly options: HttpFrontsOptions) {
    const { config, agentId, localIp, bus, logger } = options;
    if (config.ssl && config.cc_url !== undefined) {
      this.completions = StagingCompletions.create({ ccUrl: config.cc_url, agentId, logger });
    }
    if (config.ssl) this.api = this.createApi(config.ssl);
    if (config.legacy_protocols.includes('vcap.component')) {
      this.component = new ComponentRegistration({ bus, agentId, localIp, state: options.component, logger });
    }
  }

  /** @throws when a port is taken */
  async start(): Promise<void> {
    await this.api?.start();
    await this.component?.start();
  }

  /** What advertisements name; null without an HTTPS interface. Without `service_name` the address stands for it. */
  get url(): string | null {
    const { config, localIp } = this.options;
    return this.api ? `https://${config.service_name ?? localIp}:${this.api.port}` : null;
  }

  /** Takes no more requests; completions may go on until `finish`. Idempotent. */
  async stop(): Promise<void> {
    await Promise.all([this.api?.stop(), this.component?.stop()]);
  }

  /** Lets the completions that are under way arrive, for a short time. Idempotent. */
  async finish(): Promise<void> {
    await this.completions?.stop();
  }

  /** Completes a task that an earlier agent did not finish; nobody is told without `ssl` and `cc_url`. */
  reportInterrupted({ error, ...ids }: Required<StagingFailure>): void {
    this.completions?.answersTo(ids).refused(error);
  }

  private createApi(ssl: NonNullable<DeaConfig['ssl']>): HttpApi {
    const { config, manager, isAccepting, logger } = this.options;
    const { completions } = this;
    return new HttpApi({
      host: '0.0.0.0',
      port: ssl.port,
      tls: serverTls(ssl),
      isAccepting,
      isStager: config.staging.enabled,
      startInstance: (message) => {
        manager
          .startInstance(message)
          .catch((error: unknown) => logger.warn('Error validating instance: ', errorData(error)));
      },
      ...(completions && { stage: (message) => this.stage(message, completions) }),
      logger,
    });
  }

  private stage(message: Record<string, unknown>, completions: StagingCompletions): void {
    const { staging, logger } = this.options;
    staging
      .take(message, {
        to: (ids) => completions.answersTo(ids),
        invalid: (error) => {
          const ids = stagingIdsOf(message);
          // Without both ids the Cloud Controller could not tell what the completion is for.
          if (ids) completions.answersTo(ids).refused(error);
        },
      })
      .catch((error: unknown) => logger.error('staging.handle.http.failed', errorData(error)));
  }
}

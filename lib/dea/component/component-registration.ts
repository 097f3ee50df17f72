import { randomBytes } from 'node:crypto';
import type { Bus, Subscription } from '../../bus/bus.js';
import type { Logger } from '../../logging/logger.js';
import { formatUptime } from '../../process/uptime.js';
import { type ComponentAnnouncement, subjects } from '../messages.js';
import { announcement } from './announcement.js';
import { ComponentServer } from './component-server.js';
import type { ComponentState } from './component-state.js';
import { metricsPage } from './metrics-page.js';
import { varz } from './varz.js';

export interface ComponentRegistrationOptions {
  bus: Bus;
  agentId: string;
  /** Address that the pages are served on, and that is announced. */
  localIp: string;
  state: ComponentState;
  logger: Logger;
}

/** The engine may be a server that hangs; then the last answer is told. */
const listLimitMs = 1000;

/**
 * The agent as a vcap component of before February 2016 (docs/protocol/dea.md §22.3): announces itself, answers
 * discoveries, and serves its figures.
 */
export class ComponentRegistration {
  private readonly server: ComponentServer;
  private readonly credentials: { user: string; password: string };
  private readonly startedAt = new Date();
  private readonly startedAtMs = performance.now();
  private subscription: Subscription | undefined;
  private handles: string[] = [];

  constructor(private readonly options: ComponentRegistrationOptions) {
    const { localIp, state, logger } = options;
    const { status } = state.config;
    this.credentials = { user: status.user ?? randomWord(), password: status.password ?? randomWord() };
    this.server = new ComponentServer({
      host: localIp,
      port: status.port ?? 0,
      credentials: this.credentials,
      varz: () => this.varz(),
      metrics: () => metricsPage(state),
      logger,
    });
  }

  /** @throws when the port is taken */
  async start(): Promise<void> {
    const { bus } = this.options;
    await this.server.start();
    this.subscription = bus.subscribe(subjects.componentDiscover, ({ reply }) =>
      reply({ ...this.announcement(), uptime: this.uptime() }),
    );
    bus.publish(subjects.componentAnnounce, this.announcement());
  }

  /** Idempotent. */
  async stop(): Promise<void> {
    this.subscription?.unsubscribe();
    await this.server.stop();
  }

  private announcement(): ComponentAnnouncement {
    const { agentId, localIp, state } = this.options;
    return announcement({
      index: state.config.index,
      uuid: agentId,
      host: `${localIp}:${this.server.port}`,
      credentials: this.credentials,
      startedAt: this.startedAt,
    });
  }

  private uptime(): string {
    return formatUptime(performance.now() - this.startedAtMs);
  }

  private async varz(): Promise<Record<string, unknown>> {
    await this.readHandles();
    const { state } = this.options;
    return varz(state, { announcement: this.announcement(), uptime: this.uptime(), handles: this.handles });
  }

  private async readHandles(): Promise<void> {
    const listed = this.options.state.engine.list().then(
      (containers) => {
        this.handles = containers.map(({ handle }) => handle);
      },
      () => {},
    );
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, listLimitMs);
    });
    await Promise.race([listed, limit]);
    clearTimeout(timer);
  }
}

function randomWord(): string {
  return randomBytes(16).toString('hex');
}

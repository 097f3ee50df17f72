import { Agent, type Dispatcher } from 'undici';
import { errnoText } from '../../http/failure.js';
import { basicAuthorization, type Credentials } from '../../http/url.js';
import type { Logger } from '../../logging/logger.js';

export interface HoldClientOptions {
  /** Any URL of the health manager; of its path nothing is taken. */
  url: string;
  credentials: Credentials;
  /** How long a hold lasts that is not renewed. */
  holdSeconds: number;
  /** @default 2000 */
  timeoutMs?: number;
  /** Lies around each request. @default nothing */
  interceptor?: Dispatcher.DispatcherComposeInterceptor | undefined;
  logger: Logger;
}

const defaultTimeoutMs = 2000;

/**
 * Has the health manager hold its stops of an app (docs/protocol/health-manager.md §14). HM9000 knows nothing of that:
 * orders of such a one are ignored instead.
 */
export class HoldClient {
  private readonly agent: Agent;
  private readonly dispatcher: Dispatcher;
  private readonly timeoutMs: number;
  /** What was asked last of each app: the health manager must get it in this order. */
  private readonly pending = new Map<string, Promise<void>>();
  /** What has gone wrong last; it is told of once. */
  private problem: string | undefined;

  constructor(private readonly options: HoldClientOptions) {
    this.timeoutMs = options.timeoutMs ?? defaultTimeoutMs;
    this.agent = new Agent({ connect: { timeout: this.timeoutMs } });
    this.dispatcher = options.interceptor ? this.agent.compose(options.interceptor) : this.agent;
  }

  /** Cuts what is under way. Idempotent. */
  async close(): Promise<void> {
    await this.agent.destroy();
  }

  /** Begins a hold, or renews it. Never rejects: a failure is logged. */
  async hold(appGuid: string): Promise<void> {
    await this.ask('PUT', appGuid, JSON.stringify({ seconds: this.options.holdSeconds }));
  }

  /** Never rejects: a failure is logged, and the hold ends by itself. */
  async release(appGuid: string): Promise<void> {
    await this.ask('DELETE', appGuid);
  }

  private ask(method: 'PUT' | 'DELETE', appGuid: string, content?: string): Promise<void> {
    const before = this.pending.get(appGuid) ?? Promise.resolve();
    const asked = before
      .then(() => this.askNow(method, appGuid, content))
      .finally(() => {
        if (this.pending.get(appGuid) === asked) this.pending.delete(appGuid);
      });
    this.pending.set(appGuid, asked);
    return asked;
  }

  private async askNow(method: 'PUT' | 'DELETE', appGuid: string, content?: string): Promise<void> {
    const problem = await this.send(method, appGuid, content);
    if (problem !== undefined && problem !== this.problem) {
      this.options.logger.warn('mini-cc.hold.failed', { app: appGuid, problem });
    }
    this.problem = problem;
  }

  /** @returns what went wrong */
  private async send(method: 'PUT' | 'DELETE', appGuid: string, content?: string): Promise<string | undefined> {
    const { url, credentials } = this.options;
    try {
      const { statusCode, body } = await this.dispatcher.request({
        origin: new URL(url).origin,
        path: `/migration_holds/${appGuid}`,
        method,
        headers: { authorization: basicAuthorization(credentials), 'content-type': 'application/json' },
        ...(content !== undefined && { body: content }),
        signal: AbortSignal.timeout(this.timeoutMs),
      });
      await body.dump();
      return statusCode >= 200 && statusCode < 300 ? undefined : `the health manager answers with status ${statusCode}`;
    } catch (error) {
      return errnoText(error);
    }
  }
}

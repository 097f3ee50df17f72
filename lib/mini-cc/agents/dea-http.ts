import { readFileSync } from 'node:fs';
import { Agent, type Dispatcher } from 'undici';
import { errnoText } from '../../http/failure.js';
import { checkServerIdentity, tlsOfOldPeers } from '../../http/tls.js';
import type { Logger } from '../../logging/logger.js';
import type { StagingMessage, StartMessage } from '../messages.js';

export interface DeaHttpOptions {
  /** What agents know the Cloud Controller by, and the authority of their own certificates. */
  files: { key_file: string; cert_file: string; ca_file: string };
  /** Limit of each of connecting, sending and receiving. @default 5000 */
  timeoutMs?: number;
  /** Lies around each request. @default nothing */
  interceptor?: Dispatcher.DispatcherComposeInterceptor | undefined;
  logger: Logger;
}

/**
 * What an agent makes of a message: it takes it, it is about to go and takes nothing more, it knows no such path, or
 * it cannot be told.
 */
export type DeaAnswer = 'accepted' | 'unavailable' | 'not-found' | 'failed';

const defaultTimeoutMs = 5000;
const answers: Record<number, DeaAnswer> = { 202: 'accepted', 404: 'not-found', 503: 'unavailable' };

/** Messages to agents that advertise an address for them, over mutual TLS (docs/protocol/legacy-cc.md §10). */
export class DeaHttp {
  private readonly agent: Agent;
  private readonly dispatcher: Dispatcher;

  private constructor(private readonly options: DeaHttpOptions) {
    const { files, timeoutMs = defaultTimeoutMs } = options;
    this.agent = new Agent({
      connect: {
        ...tlsOfOldPeers,
        checkServerIdentity,
        timeout: timeoutMs,
        key: readFileSync(files.key_file),
        cert: readFileSync(files.cert_file),
        ca: readFileSync(files.ca_file),
      },
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
    });
    this.dispatcher = options.interceptor ? this.agent.compose(options.interceptor) : this.agent;
  }

  /** @throws when a file cannot be read */
  static create(options: DeaHttpOptions): DeaHttp {
    return new DeaHttp(options);
  }

  /** Cuts what is under way. Idempotent. */
  async close(): Promise<void> {
    await this.agent.destroy();
  }

  /** Never rejects: what went wrong is logged. */
  start(url: string, message: StartMessage): Promise<DeaAnswer> {
    return this.post(new URL('/v1/apps', url), message);
  }

  /** Never rejects: what went wrong is logged. */
  stage(url: string, message: StagingMessage): Promise<DeaAnswer> {
    return this.post(new URL('/v1/stage', url), message);
  }

  private async post(url: URL, message: StartMessage | StagingMessage): Promise<DeaAnswer> {
    const { logger, timeoutMs = defaultTimeoutMs } = this.options;
    const data = { destination: url.href };
    try {
      const { statusCode, body } = await this.dispatcher.request({
        origin: url.origin,
        path: url.pathname,
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(message),
        // The parts have their own limits; a trickle of bytes keeps within those for ever.
        signal: AbortSignal.timeout(3 * timeoutMs),
      });
      await body.dump();
      const answer = answers[statusCode] ?? 'failed';
      if (answer !== 'accepted') logger.warn('mini-cc.dea.refused', { ...data, http_status: statusCode });
      return answer;
    } catch (error) {
      logger.warn('mini-cc.dea.unreachable', { ...data, error: errnoText(error) });
      return 'failed';
    }
  }
}

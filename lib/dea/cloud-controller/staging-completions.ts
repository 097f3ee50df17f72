import { Agent } from 'undici';
import { errnoText } from '../../http/failure.js';
import { tlsOfOldPeers } from '../../http/tls.js';
import { basicAuthorization, credentialsOf, parseHttpUrl, stripUserinfo } from '../../http/url.js';
import { errorData, type Logger } from '../../logging/logger.js';
import type { StagingFailure, StagingResult } from '../messages.js';
import type { StagingAnswers } from '../staging/staging-answers.js';

export interface StagingCompletionsOptions {
  /** Base URL of the Cloud Controller, with user and password. */
  ccUrl: string;
  agentId: string;
  /** A connection on which nothing moves for so long has failed. @default 30000 */
  inactivityTimeoutMs?: number;
  /** What is under way at a stop may go on for so long. @default 10000 */
  stopGraceMs?: number;
  logger: Logger;
}

const attempts = 3;

/**
 * Tells the Cloud Controller of the end of stagings that came over HTTP (docs/protocol/dea.md §6.3). 404, 500 and
 * above, and failing connections are tried again at once, three times in all; then the completion is given up. Its own
 * certificate is not checked, as upstream does not: `cc_url` is that of the internal network.
 */
export class StagingCompletions {
  private readonly agent: Agent;
  private readonly base: URL;
  private readonly underWay = new Set<Promise<void>>();
  private readonly stopped = new AbortController();

  private constructor(private readonly options: StagingCompletionsOptions) {
    const { inactivityTimeoutMs = 30_000 } = options;
    this.base = parseHttpUrl(options.ccUrl);
    this.agent = new Agent({
      connect: { ...tlsOfOldPeers, rejectUnauthorized: false, timeout: inactivityTimeoutMs },
      headersTimeout: inactivityTimeoutMs,
      bodyTimeout: inactivityTimeoutMs,
    });
  }

  /** @throws TypeError when the URL is none */
  static create(options: StagingCompletionsOptions): StagingCompletions {
    return new StagingCompletions(options);
  }

  /** The answers to one staging message: there is no first one, and whatever ends the task completes it. */
  answersTo({ app_id, task_id }: { app_id: string; task_id: string }): StagingAnswers {
    let delivery = Promise.resolve();
    const complete = (result: StagingResult | StagingFailure) => {
      delivery = this.complete(app_id, { ...result, app_id });
    };
    return {
      refused: (error) => complete({ task_id, error }),
      setUp: () => {},
      completed: complete,
      stopped: () => complete({ task_id, error: 'Error staging: task stopped' }),
      delivered: () => delivery,
    };
  }

  /** Lets what is under way finish, for a short time. Idempotent. */
  async stop(): Promise<void> {
    const timer = setTimeout(() => this.stopped.abort(), this.options.stopGraceMs ?? 10_000);
    await Promise.all(this.underWay);
    clearTimeout(timer);
    this.stopped.abort();
    await this.agent.destroy();
  }

  /** Resolves when the Cloud Controller knows, or is given up; never rejects. */
  private complete(applicationId: string, result: StagingResult | StagingFailure): Promise<void> {
    const url = new URL(this.base);
    url.pathname = `/internal/dea/staging/${encodeURIComponent(applicationId)}/completed`;
    url.search = '';
    const body = JSON.stringify({ ...result, dea_id: this.options.agentId });
    const delivery = this.deliver(url, body).finally(() => this.underWay.delete(delivery));
    this.underWay.add(delivery);
    return delivery;
  }

  private async deliver(url: URL, body: string): Promise<void> {
    const { logger } = this.options;
    const destination = stripUserinfo(url.href);
    for (let attempt = 1; attempt <= attempts && !this.stopped.signal.aborted; attempt += 1) {
      logger.info('cloud_controller.staging_response.sending', { destination, attempt });
      try {
        const status = await this.post(url, body);
        if (status === 200) {
          logger.debug('cloud_controller.staging_response.accepted', { http_status: status });
          return;
        }
        logger.warn('cloud_controller.staging_response.failed', { destination, attempt, http_status: status });
        if (status !== 404 && status < 500) return;
      } catch (error) {
        logger.warn('cloud_controller.staging_response.failed', {
          destination,
          attempt,
          ...errorData(errnoText(error)),
        });
      }
    }
  }

  private async post(url: URL, body: string): Promise<number> {
    const { inactivityTimeoutMs = 30_000 } = this.options;
    const credentials = credentialsOf(url);
    const answer = await this.agent.request({
      origin: url.origin,
      path: url.pathname,
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        ...(credentials && { Authorization: basicAuthorization(credentials) }),
      },
      body,
      // A trickle of bytes is no reason to keep a task for ever.
      signal: AbortSignal.any([this.stopped.signal, AbortSignal.timeout(2 * inactivityTimeoutMs)]),
    });
    await answer.body.dump();
    return answer.statusCode;
  }
}

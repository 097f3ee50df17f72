import { errorData, type Logger } from '../../logging/logger.js';
import type { Locks } from '../lock-store.js';
import type { Attempt } from './claimant.js';

/** Only the log waits for it. */
const longestFetchMs = 1000;

/** Says once why a key is not ours, and again when the reason changes. */
export class WaitingLog {
  #last: string | undefined;

  constructor(private readonly options: { locks: Locks; key: string; logger: Logger }) {}

  /** The reason is over. */
  clear(): void {
    this.#last = undefined;
  }

  async note(attempt: Attempt): Promise<void> {
    const { logger, key } = this.options;
    if (attempt.kind === 'collision') {
      if (this.#isNews(`collision ${attempt.owner}`)) {
        logger.info('lock.held-by-another', { key, owner: attempt.owner ?? (await this.#owner()) });
      }
    } else if (attempt.kind === 'failed') {
      if (this.#isNews(reasonOf(attempt.error))) {
        logger.warn('lock.request-failed', { key, request_uuid: attempt.requestId, ...errorData(attempt.error) });
      }
    }
  }

  #isNews(reason: string): boolean {
    const isNews = reason !== this.#last;
    this.#last = reason;
    return isNews;
  }

  /** Over gRPC a collision does not say whose it is. */
  async #owner(): Promise<string | undefined> {
    const { locks, key, logger } = this.options;
    try {
      return (await locks.fetch(key, { timeoutMs: longestFetchMs }))?.owner;
    } catch (error) {
      logger.debug('lock.fetch-failed', { key, ...errorData(error) });
      return undefined;
    }
  }
}

/** Without what differs from one request to the next. */
function reasonOf(error: unknown): string {
  return String(error).replace(/\(request [^)]*\)/, '');
}

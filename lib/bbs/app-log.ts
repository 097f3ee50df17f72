import type { Logger } from '../logging/logger.js';
import { createLoggregator, type Loggregator } from '../loggregator/loggregator.js';

export interface AppLogOptions {
  /** Port of a Metron on this machine; 0: nobody hears. */
  dropsondePort: number;
  logger: Logger;
}

/** Of a process guid: that of the app, then that of its version. */
const partsOfAppGuid = 5;
/** Findings may be thousands; a line has to fit a datagram. */
const longestReason = 10_000;

/** Tells those who look into the log of an app why it does not come to run (docs/protocol/bbs.md §4.5). */
export class AppLog {
  readonly #loggregator: Loggregator;

  constructor({ dropsondePort: port, logger }: AppLogOptions) {
    const router = port === 0 ? undefined : { host: '127.0.0.1', port };
    this.#loggregator = createLoggregator({ origin: 'bbs', router, clock: Date.now, logger });
  }

  start(): void {
    this.#loggregator.start();
  }

  /** Sends what waits. Idempotent. */
  async stop(): Promise<void> {
    await this.#loggregator.stop();
  }

  /** A request was not valid. @param message the decoded request @param reason what it was answered */
  refused(typeName: string, message: object, reason: string): void {
    const processGuid = processGuidOf(message);
    if (processGuid === '') return;
    const appId = processGuid.split('-').slice(0, partsOfAppGuid).join('-');
    this.#loggregator.emit({
      kind: 'LogMessage',
      appId,
      text: `Error parsing request for app with guid ${appId}, ${typeName}, ${reason.slice(0, longestReason)}`,
      type: 'ERR',
      sourceType: 'DIEGO-API',
      sourceInstance: '0',
      tags: { source_id: appId },
    });
  }
}

/** Of a desire or an update of an LRP; empty for every other request. */
function processGuidOf(message: object): string {
  if ('desiredLrp' in message) return (message.desiredLrp as { processGuid: string } | undefined)?.processGuid ?? '';
  return 'update' in message && 'processGuid' in message ? String(message.processGuid) : '';
}

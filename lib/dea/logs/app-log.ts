import type { LogMessage } from '../../loggregator/envelope.js';
import type { Loggregator } from '../../loggregator/loggregator.js';
import { linesOf } from './line-splitter.js';

/** The instance that a line is about. */
export interface LoggedInstance {
  applicationId: string;
  instanceIndex: number;
}

/** Who says a line. */
export type LogSource = Pick<LogMessage, 'sourceType' | 'sourceInstance'>;

/** What the agent itself writes into the logs of apps, in the words that users know (docs/protocol/dea.md §21.1). */
export class AppLog {
  readonly #loggregator: Loggregator;
  readonly #sourceInstance: string;

  /** @param index the agent's own, by which its lines are told from those of other agents */
  constructor(loggregator: Loggregator, index: number) {
    this.#loggregator = loggregator;
    this.#sourceInstance = String(index);
  }

  instanceStarting(instance: LoggedInstance): void {
    this.#tell(instance.applicationId, `Starting app instance ${nameOf(instance)}`);
  }

  /** An instance is no longer the agent's: stopped, or a crash that is forgotten (docs/protocol/dea.md §13.2). */
  instanceGone(instance: LoggedInstance): void {
    this.#tell(instance.applicationId, `Stopping app instance ${nameOf(instance)}`);
    this.#tell(instance.applicationId, `Stopped app instance ${nameOf(instance)}`);
  }

  instanceUnhealthy({ applicationId, instanceIndex }: LoggedInstance): void {
    this.#tell(applicationId, `Instance (index ${instanceIndex}) failed to start accepting connections`, 'ERR');
  }

  /** The start failed for a reason that is not the app's own (docs/protocol/dea.md §26). */
  instanceFailed({ applicationId, instanceIndex }: LoggedInstance, reason: string): void {
    this.#tell(applicationId, `Instance (index ${instanceIndex}) failed to start: ${reason}`, 'ERR');
  }

  removingCrash(applicationId: string): void {
    this.#tell(applicationId, `Removing crash for app with id ${applicationId}`);
  }

  stagingRequested(applicationId: string): void {
    this.#tell(applicationId, `Got staging request for app with id ${applicationId}`);
  }

  /** As `instanceFailed`, for a staging. */
  stagingFailed(applicationId: string, reason: string): void {
    this.#write(applicationId, `Failed to stage: ${reason}`, 'ERR', 'STG');
  }

  /** What steps of a staging print (docs/protocol/dea.md §17.4). */
  stagingOutput(applicationId: string, text: string, type: LogMessage['type']): void {
    this.#write(applicationId, text, type, 'STG');
  }

  #tell(appId: string, text: string, type: LogMessage['type'] = 'OUT'): void {
    this.#write(appId, text, type, 'DEA');
  }

  #write(appId: string, text: string, type: LogMessage['type'], sourceType: string): void {
    if (appId === '') return;
    for (const line of linesOf(text)) {
      this.#loggregator.emit({
        kind: 'LogMessage',
        appId,
        text: line,
        type,
        sourceType,
        sourceInstance: this.#sourceInstance,
      });
    }
  }
}

function nameOf({ applicationId, instanceIndex }: LoggedInstance): string {
  return `(index ${instanceIndex}) with guid ${applicationId}`;
}

import type { BusMessage } from '../../bus/bus.js';
import type { StagingReplies } from './staging-context.js';

/** Where a staging message's answers go, whichever way it came. */
export interface StagingAnswers extends StagingReplies {
  /** The only answer: the task was not taken. */
  refused(error: string): void;
  /** Resolves when the last answer has arrived, or is given up; absent: answers are on their way at once. */
  delivered?(): Promise<void>;
}

/** The replies to a message that came over NATS (docs/protocol/dea.md §5.8). */
export function natsAnswers(
  request: BusMessage,
  { app_id, task_id }: { app_id: string; task_id: string },
): StagingAnswers {
  return {
    refused: (error) => request.reply({ task_id, error }),
    setUp: (error, logUrl) => request.reply({ task_id, task_streaming_log_url: logUrl, error }),
    completed: (result) => request.reply(result),
    stopped: () => request.reply({ task_id, app_id, error: 'Error staging: task stopped' }),
  };
}

import { Router } from 'express';
import { ApiError } from '../errors.js';
import type { LogReceiver } from '../logs/log-receiver.js';
import type { LogLine, RecentLogs } from '../logs/recent-logs.js';
import type { AppStore } from '../store/app-store.js';

export interface LogsApiOptions {
  apps: AppStore;
  logs: RecentLogs;
  receiver: LogReceiver;
  /** How often a silent stream says that it lives. @default 30000 */
  signOfLifeMs?: number;
}

/** A reader that does not read loses lines from here on, bytes. */
const waitingLimit = 1024 * 1024;

/** App logs for the command line: the last lines at once, or those to come as a stream of JSON lines. */
export function logsApi({ apps, logs, receiver, signOfLifeMs = 30_000 }: LogsApiOptions): Router {
  const router = Router();

  router.get('/apps/:guid/logs/recent', (request, response) => {
    const { guid } = apps.get(request.params.guid);
    requireReceiver(receiver);
    response.json({ resources: logs.recent(guid).map(lineBody) });
  });

  router.get('/apps/:guid/logs/stream', (request, response) => {
    const { guid } = apps.get(request.params.guid);
    requireReceiver(receiver);
    response.type('application/x-ndjson');
    response.flushHeaders();
    const unfollow = logs.follow(guid, {
      line: (line) => {
        if (response.writableLength < waitingLimit) response.write(`${JSON.stringify(lineBody(line))}\n`);
      },
      end: () => response.end(),
    });
    const signsOfLife = setInterval(() => response.write('\n'), signOfLifeMs);
    response.on('close', () => {
      clearInterval(signsOfLife);
      unfollow();
    });
  });

  return router;
}

function requireReceiver(receiver: LogReceiver): void {
  if (receiver.port === undefined) {
    throw new ApiError('LogsUnavailable', 'the port for them (loggregator.port) was taken at the start');
  }
}

function lineBody({ timestampNs, type, sourceType, sourceInstance, text }: LogLine) {
  return {
    timestamp: new Date(Number(timestampNs / 1_000_000n)).toISOString(),
    type,
    source_type: sourceType,
    source_instance: sourceInstance,
    message: text.toString(),
  };
}

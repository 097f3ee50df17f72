import type { LogData, Logger } from '../../lib/logging/logger.js';

export interface RecordedLine {
  level: string;
  message: string;
  data: LogData;
}

/** A logger that keeps its lines for the spec to read. */
export function recordingLogger(): { logger: Logger; lines: RecordedLine[] } {
  const lines: RecordedLine[] = [];
  const record =
    (level: string) =>
    (message: string, data: LogData = {}) =>
      void lines.push({ level, message, data });
  const logger: Logger = {
    fatal: record('fatal'),
    error: record('error'),
    warn: record('warn'),
    info: record('info'),
    debug: record('debug'),
    debug1: record('debug1'),
    child: () => logger,
  };
  return { logger, lines };
}

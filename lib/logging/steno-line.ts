import type { Caller } from './caller.js';
import type { LogData } from './logger.js';

/** Level names of a Cloud Foundry component, most severe first (docs/protocol/dea.md §21.3). */
export const stenoLevels = ['off', 'fatal', 'error', 'warn', 'info', 'debug', 'debug1', 'debug2', 'all'] as const;
export type StenoLevel = (typeof stenoLevels)[number];

/** `steno` is what Ruby components write, `gosteno` what Go components do. */
export type LineFormat = 'steno' | 'gosteno';

/** What happened, free of secrets. */
export interface LogRecord {
  /** Seconds since 1970. */
  timestamp: number;
  message: string;
  level: StenoLevel;
  source: string;
  data: LogData;
  processId: number;
  caller: Caller;
}

/** A record as JSON, its keys in the order that readers know, without an end of line (docs/protocol/dea.md §21.3). */
export function formatLine(record: LogRecord, format: LineFormat): string {
  const { timestamp, message, level, source, data, processId, caller } = record;
  if (format === 'gosteno') {
    return JSON.stringify({ timestamp, process_id: processId, source, log_level: level, message, data });
  }
  return JSON.stringify({
    timestamp,
    message,
    log_level: level,
    source,
    data,
    // There is one thread with one fiber, and Linux gives it the number of its process.
    thread_id: processId,
    fiber_id: processId,
    process_id: processId,
    file: caller.file,
    lineno: caller.line,
    method: caller.method,
  });
}

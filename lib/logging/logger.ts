/** Structured data that goes with a log line; never secrets. */
export type LogData = Record<string, unknown>;

/**
 * What a component logs to. Messages are stable topics or plain sentences, the variable part goes into `data`
 * (docs/protocol/dea.md §21.3).
 */
export interface Logger {
  fatal(message: string, data?: LogData): void;
  error(message: string, data?: LogData): void;
  warn(message: string, data?: LogData): void;
  info(message: string, data?: LogData): void;
  debug(message: string, data?: LogData): void;
  debug1(message: string, data?: LogData): void;
  /** A logger that merges `tags` into the data of each line, under another source when one is given. */
  child(tags: LogData, source?: string): Logger;
}

/** Discards everything; for specs and tools whose output is their own. */
export const silentLogger: Logger = {
  fatal() {},
  error() {},
  warn() {},
  info() {},
  debug() {},
  debug1() {},
  child: () => silentLogger,
};

/** Puts an error into log data: its message and causes, without the stack's noise of foreign frames. */
export function errorData(error: unknown): LogData {
  if (!(error instanceof Error)) return { error: String(error) };
  const causes: string[] = [];
  for (let cause = error.cause; cause instanceof Error; cause = cause.cause) causes.push(cause.message);
  return {
    error: error.message,
    ...(causes.length > 0 && { causes }),
    backtrace: error.stack
      ?.split('\n')
      .slice(1, 8)
      .map((line) => line.trim()),
  };
}

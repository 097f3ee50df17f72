import type { LogData, Logger } from '../../logging/logger.js';
import { type StenoLevel, stenoLevels } from '../../logging/steno.js';

/** Lines that were logged so far, by level. */
export type LogCounts = Record<StenoLevel, number>;

/**
 * The same logger, with the lines of each level counted that `level` lets through.
 * @returns the logger, and its counts, which go on growing
 */
export function countedLogger(logger: Logger, level: StenoLevel): { logger: Logger; counts: LogCounts } {
  const counts = Object.fromEntries(stenoLevels.map((name) => [name, 0])) as LogCounts;
  return { logger: new CountedLogger(logger, counts, stenoLevels.indexOf(level)), counts };
}

class CountedLogger implements Logger {
  constructor(
    private readonly logger: Logger,
    private readonly counts: LogCounts,
    /** Position of the least severe level that is logged. */
    private readonly limit: number,
  ) {}

  fatal(message: string, data?: LogData): void {
    this.count('fatal');
    this.logger.fatal(message, data);
  }
  error(message: string, data?: LogData): void {
    this.count('error');
    this.logger.error(message, data);
  }
  warn(message: string, data?: LogData): void {
    this.count('warn');
    this.logger.warn(message, data);
  }
  info(message: string, data?: LogData): void {
    this.count('info');
    this.logger.info(message, data);
  }
  debug(message: string, data?: LogData): void {
    this.count('debug');
    this.logger.debug(message, data);
  }
  debug1(message: string, data?: LogData): void {
    this.count('debug1');
    this.logger.debug1(message, data);
  }

  child(tags: LogData, source?: string): Logger {
    const child = source === undefined ? this.logger.child(tags) : this.logger.child(tags, source);
    return new CountedLogger(child, this.counts, this.limit);
  }

  private count(level: StenoLevel): void {
    if (stenoLevels.indexOf(level) <= this.limit) this.counts[level] += 1;
  }
}

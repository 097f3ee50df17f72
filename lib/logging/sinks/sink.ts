import type { LogRecord } from '../steno-line.js';

/** Where log lines go. Nothing that happens there reaches who logs. */
export interface LogSink {
  write(record: LogRecord): void;
  /** Opens what it writes to anew: somebody has moved it away. */
  reopen(): void;
  /** Idempotent. */
  close(): void;
}

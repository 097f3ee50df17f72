import { formatLine, type LineFormat } from '../steno-line.js';
import type { LogSink } from './sink.js';

/** Writes lines to standard output, as long as somebody reads it. */
export function standardOutputSink(format: LineFormat): LogSink {
  process.stdout.on('error', () => {});
  return {
    write: (record) => process.stdout.write(`${formatLine(record, format)}\n`),
    reopen() {},
    close() {},
  };
}

import { closeSync, openSync, writeSync } from 'node:fs';
import { formatLine, type LineFormat, type LogRecord } from '../steno-line.js';
import type { LogSink } from './sink.js';

/**
 * Appends lines to a file, at once: a line that was logged is there, however the program ends. What a full disk has no
 * room for is lost.
 */
export class FileSink implements LogSink {
  readonly #path: string;
  readonly #format: LineFormat;
  #file: number | undefined;
  #hasFailed = false;

  /** @throws when the file cannot be opened */
  constructor(path: string, format: LineFormat) {
    this.#path = path;
    this.#format = format;
    this.#file = open(path);
  }

  write(record: LogRecord): void {
    if (this.#file === undefined) return;
    try {
      writeSync(this.#file, `${formatLine(record, this.#format)}\n`);
      this.#hasFailed = false;
    } catch (error) {
      // Said once: standard error may go to the same disk.
      if (!this.#hasFailed) process.stderr.write(`${this.#path}: ${(error as Error).message}\n`);
      this.#hasFailed = true;
    }
  }

  /** A file that cannot be opened leaves the old one in use. */
  reopen(): void {
    try {
      const file = open(this.#path);
      this.close();
      this.#file = file;
    } catch (error) {
      process.stderr.write(`${this.#path}: ${(error as Error).message}\n`);
    }
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }
}

function open(path: string): number {
  return openSync(path, 'a', 0o640);
}

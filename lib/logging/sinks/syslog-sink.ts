import { type ChildProcess, spawn } from 'node:child_process';
import { formatLine, type LineFormat, type LogRecord, type StenoLevel } from '../steno-line.js';
import type { LogSink } from './sink.js';

export interface SyslogSinkOptions {
  /** Name that lines go under. */
  identity: string;
  format: LineFormat;
  /** @default '/dev/log' */
  socketPath?: string | undefined;
}

/** Facility user with syslog's own severities: crit, err, warning, info, debug (docs/protocol/dea.md §21.3). */
const priorities: Record<StenoLevel, number> = {
  off: 15,
  fatal: 10,
  error: 11,
  warn: 12,
  info: 14,
  debug: 15,
  debug1: 15,
  debug2: 15,
  all: 15,
};
const longestMessage = 3072;
/** What one datagram may have. */
const longestLineBytes = 60 * 1024;
const longestBacklogBytes = 1024 * 1024;
const restartPauseMs = 1000;

/**
 * Sends lines to the machine's syslog. Its socket takes datagrams, which the platform has no means to send on UNIX
 * sockets: `logger`, a part of every Linux, does it, and waits for a socket that is not there yet or not any more. Lines
 * that nobody takes meanwhile are lost.
 */
export class SyslogSink implements LogSink {
  readonly #options: SyslogSinkOptions;
  #child: ChildProcess | undefined;
  #startedAtMs = 0;
  #isClosed = false;

  constructor(options: SyslogSinkOptions) {
    this.#options = options;
  }

  write(record: LogRecord): void {
    const stdin = this.#ensureChild()?.stdin;
    if (!stdin?.writable || stdin.writableLength > longestBacklogBytes) return;
    stdin.write(`<${priorities[record.level]}>${this.#line(record)}\n`);
  }

  reopen(): void {
    this.#child?.stdin?.end();
    this.#child = undefined;
    this.#startedAtMs = 0;
  }

  /** Lines that were written still go out. */
  close(): void {
    this.#isClosed = true;
    this.reopen();
  }

  #line(record: LogRecord): string {
    const { message } = record;
    const isLong = message.length > longestMessage;
    const cut = { ...record, message: isLong ? `${message.slice(0, longestMessage - 3)}...` : message };
    const line = formatLine(cut, this.#options.format);
    if (Buffer.byteLength(line) <= longestLineBytes) return line;
    return formatLine({ ...cut, data: { omitted_bytes: Buffer.byteLength(line) } }, this.#options.format);
  }

  #ensureChild(): ChildProcess | undefined {
    if (this.#child || this.#isClosed || Date.now() - this.#startedAtMs < restartPauseMs) return this.#child;
    const { identity, socketPath = '/dev/log' } = this.#options;
    this.#startedAtMs = Date.now();
    const child = spawn(
      'logger',
      [
        ...['--socket', socketPath, '--socket-errors=off', '--size', '64KiB', '--prio-prefix'],
        ...['--tag', identity, `--id=${process.pid}`],
      ],
      // In a session of its own, so that no terminal ends it before the last line.
      { stdio: ['pipe', 'ignore', 'ignore'], detached: true },
    );
    const forget = () => {
      if (this.#child === child) this.#child = undefined;
    };
    child.on('error', forget).on('exit', forget);
    child.stdin.on('error', forget);
    child.unref();
    this.#child = child;
    return child;
  }
}

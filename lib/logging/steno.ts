import { createWriteStream, type WriteStream } from 'node:fs';
import type BunyanLogger from 'bunyan';
import { createLogger as createBunyanLogger, type LogLevel, type Stream } from 'bunyan';
import type { LogData, Logger } from './logger.js';

/** Level names of a Cloud Foundry component, most severe first (docs/protocol/dea.md §21.3). */
export const stenoLevels = ['off', 'fatal', 'error', 'warn', 'info', 'debug', 'debug1', 'debug2', 'all'] as const;
export type StenoLevel = (typeof stenoLevels)[number];

export interface StenoOptions {
  /** Name of the component, the `source` of lines from loggers without a source of their own. */
  source: string;
  level: StenoLevel;
  /** Appends JSON lines to this file; without it they go to standard output. */
  file?: string | undefined;
}

const bunyanLevels: Record<StenoLevel, number> = {
  off: 100,
  fatal: 60,
  error: 50,
  warn: 40,
  info: 30,
  debug: 20,
  debug1: 10,
  debug2: 5,
  all: 1,
};

const stenoNames = new Map(Object.entries(bunyanLevels).map(([name, level]) => [level, name]));

interface BunyanRecord {
  level: number;
  msg: string;
  time: Date;
  pid: number;
  source: string;
  data: LogData;
}

/** The keys of a line in the order that readers of Steno logs know. */
function toStenoLine(record: BunyanRecord): string {
  return `${JSON.stringify({
    timestamp: record.time.getTime() / 1000,
    message: record.msg,
    log_level: stenoNames.get(record.level) ?? 'info',
    source: record.source,
    data: record.data,
    thread_id: 0,
    fiber_id: 0,
    process_id: record.pid,
    file: '',
    lineno: 0,
    method: '',
  })}\n`;
}

/** A logger that writes Steno-shaped JSON lines, one per event. */
export function createStenoLogger(options: StenoOptions): Logger {
  const sink: WriteStream | NodeJS.WriteStream = options.file
    ? createWriteStream(options.file, { flags: 'a', mode: 0o640 })
    : process.stdout;
  sink.on('error', (error) => process.stderr.write(`log sink failed: ${error.message}\n`));
  const raw = { write: (record: BunyanRecord) => sink.write(toStenoLine(record)) };
  const stream: Stream = {
    type: 'raw',
    level: bunyanLevels[options.level] as LogLevel,
    stream: raw as unknown as NodeJS.WritableStream,
  };
  return new StenoLogger(createBunyanLogger({ name: options.source, streams: [stream] }), options.source, {});
}

class StenoLogger implements Logger {
  constructor(
    private readonly bunyan: BunyanLogger,
    private readonly source: string,
    private readonly tags: LogData,
  ) {}

  private fields(data: LogData | undefined): { source: string; data: LogData } {
    return { source: this.source, data: { ...this.tags, ...data } };
  }

  fatal(message: string, data?: LogData): void {
    this.bunyan.fatal(this.fields(data), '%s', message);
  }
  error(message: string, data?: LogData): void {
    this.bunyan.error(this.fields(data), '%s', message);
  }
  warn(message: string, data?: LogData): void {
    this.bunyan.warn(this.fields(data), '%s', message);
  }
  info(message: string, data?: LogData): void {
    this.bunyan.info(this.fields(data), '%s', message);
  }
  debug(message: string, data?: LogData): void {
    this.bunyan.debug(this.fields(data), '%s', message);
  }
  debug1(message: string, data?: LogData): void {
    this.bunyan.trace(this.fields(data), '%s', message);
  }

  child(tags: LogData, source = this.source): Logger {
    return new StenoLogger(this.bunyan, source, { ...this.tags, ...tags });
  }
}

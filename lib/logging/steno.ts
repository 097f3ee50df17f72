import type BunyanLogger from 'bunyan';
import { createLogger as createBunyanLogger, type LogLevel, type Stream } from 'bunyan';
import { findCaller } from './caller.js';
import type { LogData, Logger } from './logger.js';
import { redact, redactText } from './redaction.js';
import { FileSink } from './sinks/file-sink.js';
import type { LogSink } from './sinks/sink.js';
import { standardOutputSink } from './sinks/standard-output-sink.js';
import { SyslogSink } from './sinks/syslog-sink.js';
import type { LineFormat, StenoLevel } from './steno-line.js';

export { type StenoLevel, stenoLevels } from './steno-line.js';

export interface StenoOptions {
  /** Name of the component, the `source` of lines from loggers without a source of their own. */
  source: string;
  level: StenoLevel;
  /** Appends JSON lines to this file. Without a file and without syslog they go to standard output. */
  file?: string | undefined;
  /** Identity for the machine's syslog, which then gets all lines, too. */
  syslog?: string | undefined;
  /** @default 'steno' */
  format?: LineFormat;
  /** @default '/dev/log' */
  syslogSocket?: string;
}

/** A logger whose lines go to files and sockets of the machine. */
export interface StenoLogger extends Logger {
  /** Also for all loggers that were made of this one. */
  setLevel(level: StenoLevel): void;
  /** Opens files anew: logrotate has moved them away. */
  reopen(): void;
  /** Lines that were logged still arrive. Idempotent. */
  close(): void;
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

const stenoNames = new Map(Object.entries(bunyanLevels).map(([name, level]) => [level, name as StenoLevel]));

interface BunyanRecord {
  level: number;
  msg: string;
  time: Date;
  pid: number;
  source: string;
  data: LogData;
}

/**
 * A logger that writes Steno-shaped JSON lines, one per event (docs/protocol/dea.md §21.3). This is where secrets are
 * taken out of all that is logged, at every level.
 *
 * @throws when the file cannot be opened
 */
export function createStenoLogger(options: StenoOptions): StenoLogger {
  const { source, level } = options;
  const sinks = openSinks(options);
  const raw = {
    write(record: BunyanRecord) {
      const line = {
        timestamp: record.time.getTime() / 1000,
        message: redactText(record.msg),
        level: stenoNames.get(record.level) ?? 'info',
        source: record.source,
        data: redact(record.data) as LogData,
        processId: record.pid,
        caller: findCaller(),
      };
      for (const sink of sinks) sink.write(line);
    },
  };
  const stream: Stream = {
    type: 'raw',
    level: bunyanLevels[level] as LogLevel,
    stream: raw as unknown as NodeJS.WritableStream,
  };
  const bunyan = createBunyanLogger({ name: source, streams: [stream] });
  return Object.assign(new BunyanBackedLogger(bunyan, source, {}), {
    setLevel: (wanted: StenoLevel) => bunyan.level(bunyanLevels[wanted] as LogLevel),
    reopen() {
      for (const sink of sinks) sink.reopen();
    },
    close() {
      for (const sink of sinks) sink.close();
    },
  });
}

function openSinks({ file, syslog, syslogSocket, format = 'steno' }: StenoOptions): LogSink[] {
  const sinks: LogSink[] = [];
  if (file !== undefined) sinks.push(new FileSink(file, format));
  if (syslog !== undefined) sinks.push(new SyslogSink({ identity: syslog, format, socketPath: syslogSocket }));
  return sinks.length > 0 ? sinks : [standardOutputSink(format)];
}

class BunyanBackedLogger implements Logger {
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
    return new BunyanBackedLogger(this.bunyan, source, { ...this.tags, ...tags });
  }
}

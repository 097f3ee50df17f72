import { createWriteStream, type WriteStream } from 'node:fs';
import { errorData, type Logger } from '../logging/logger.js';

/** What is told of one request. Absent values may be undefined or empty. */
export interface AccessRecord {
  host: string;
  /** Milliseconds since 1970, with fractions. */
  startedMs: number;
  /** As the client sent it. */
  requestLine: string;
  status: number;
  /** Bytes of the request's body. */
  bytesReceived: number;
  /** Bytes of the answer's body. */
  bytesSent: number;
  referer: string | undefined;
  userAgent: string | undefined;
  /** `ip:port`, like the next. */
  client: string;
  backend: string | undefined;
  forwardedFor: string;
  forwardedProto: string;
  requestId: string;
  /** From the request's first to the answer's last byte, and what of that the router itself took. */
  responseSeconds: number;
  gorouterSeconds: number;
  app: string | undefined;
  appIndex: string | undefined;
  instanceId: string | undefined;
  routerError: string;
}

const valueLimit = 1000;
const requestLineLimit = 20_000;

/** One line per request (docs/protocol/edge.md §1.6). */
export function formatAccessRecord(record: AccessRecord): string {
  return [
    `${clean(record.host, valueLimit) || '-'} - [${formatTime(record.startedMs)}]`,
    `"${clean(record.requestLine, requestLineLimit)}" ${record.status} ${record.bytesReceived} ${record.bytesSent}`,
    `${quoted(record.referer)} ${quoted(record.userAgent)} ${quoted(record.client)} ${quoted(record.backend)}`,
    `x_forwarded_for:${quoted(record.forwardedFor)} x_forwarded_proto:${quoted(record.forwardedProto)}`,
    `vcap_request_id:${quoted(record.requestId)} response_time:${record.responseSeconds.toFixed(6)}`,
    `gorouter_time:${record.gorouterSeconds.toFixed(6)} app_id:${quoted(record.app)}`,
    `app_index:${quoted(record.appIndex)} instance_id:${quoted(record.instanceId)}`,
    `x_cf_routererror:${quoted(record.routerError)}`,
  ].join(' ');
}

function quoted(value: string | undefined): string {
  return `"${clean(value || '-', valueLimit)}"`;
}

/** A client must not be able to end a value or a line. */
function clean(value: string, limit: number): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is looked for
  return value.slice(0, limit).replaceAll(/["\x00-\x1f\x7f]/g, '_');
}

/** Nine digits of a second, as readers of these lines expect; a clock here knows six. */
function formatTime(ms: number): string {
  const microseconds = String(Math.floor((ms % 1) * 1000)).padStart(3, '0');
  return new Date(ms).toISOString().replace('Z', `${microseconds}000Z`);
}

export interface AccessLogOptions {
  /** Lines are appended to it; undefined: nothing is written. */
  file: string | undefined;
  logger: Logger;
}

/** Appends a line per request to a file. A file that cannot be written does not disturb the requests. */
export class AccessLog {
  private stream: WriteStream | undefined;

  constructor(private readonly options: AccessLogOptions) {}

  start(): void {
    if (this.options.file === undefined || this.stream) return;
    this.stream = createWriteStream(this.options.file, { flags: 'a', mode: 0o640 });
    this.stream.on('error', (error) => this.options.logger.error('access-log.error', errorData(error)));
  }

  write(record: AccessRecord): void {
    if (this.stream?.writable) this.stream.write(`${formatAccessRecord(record)}\n`);
  }

  /** Resolves when everything is written, or cannot be. Idempotent. */
  async stop(): Promise<void> {
    const { stream } = this;
    this.stream = undefined;
    if (!stream || stream.closed) return;
    await new Promise<void>((resolve) => {
      stream.once('close', resolve);
      stream.end();
    });
  }
}

import { createWriteStream, type WriteStream } from 'node:fs';

export interface AccessRecord {
  host: string;
  startedMs: number;
  requestLine: string;
  status: number;
  bytesReceived: number;
  bytesSent: number;
  referer: string | undefined;
  userAgent: string | undefined;
  client: string;
  backend: string | undefined;
  forwardedFor: string | undefined;
  forwardedProto: string | undefined;
  requestId: string | undefined;
  responseSeconds: number;
  gorouterSeconds: number;
  app: string | undefined;
  appIndex: string | undefined;
  instanceId: string | undefined;
  routerError: string | undefined;
}

/** One line per request (docs/protocol/edge.md §1.6). */
export function formatAccessRecord(record: AccessRecord): string {
  const quoted = (value: string | undefined) => `"${(value || '-').slice(0, 1000).replaceAll(/["\\\n\r]/g, '_')}"`;
  const named: [name: string, value: string | undefined][] = [
    ['x_forwarded_for', record.forwardedFor],
    ['x_forwarded_proto', record.forwardedProto],
    ['vcap_request_id', record.requestId],
  ];
  const trailing: [name: string, value: string | undefined][] = [
    ['app_id', record.app],
    ['app_index', record.appIndex],
    ['instance_id', record.instanceId],
    ['x_cf_routererror', record.routerError],
  ];
  const pairs = (entries: [string, string | undefined][]) =>
    entries.map(([name, value]) => `${name}:${quoted(value)}`).join(' ');
  return [
    `${record.host || '-'} - [${new Date(record.startedMs).toISOString()}]`,
    `"${record.requestLine.slice(0, 20_000)}" ${record.status} ${record.bytesReceived} ${record.bytesSent}`,
    `${quoted(record.referer)} ${quoted(record.userAgent)} ${quoted(record.client)} ${quoted(record.backend)}`,
    pairs(named),
    `response_time:${record.responseSeconds.toFixed(6)} gorouter_time:${record.gorouterSeconds.toFixed(6)}`,
    pairs(trailing),
  ].join(' ');
}

/** Appends access records to a file; without one nothing is written. */
export class AccessLog {
  private readonly stream: WriteStream | undefined;

  constructor(file: string | undefined) {
    if (file !== undefined) this.stream = createWriteStream(file, { flags: 'a', mode: 0o640 });
  }

  write(record: AccessRecord): void {
    this.stream?.write(`${formatAccessRecord(record)}\n`);
  }

  stop(): Promise<void> {
    return new Promise((resolve) => {
      if (this.stream) this.stream.end(resolve);
      else resolve();
    });
  }
}

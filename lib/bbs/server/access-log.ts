import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { requestIdOf } from '../request-id.js';

/** One JSON line for each request in a file of its own (docs/protocol/bbs.md §17, `access_log_path`). */
export class AccessLog {
  #stream: WriteStream | undefined;

  constructor(private readonly path: string) {}

  /** @throws when the file cannot be opened */
  async start(): Promise<void> {
    this.#stream = createWriteStream(this.path, { flags: 'a' });
    await once(this.#stream, 'open');
    // A full disk must not end the board.
    this.#stream.on('error', () => {});
  }

  add(request: IncomingMessage, response: ServerResponse, durationMs: number): void {
    const { method, url, socket } = request;
    const requestId = requestIdOf(request);
    const subject = 'getPeerCertificate' in socket ? (socket as TLSSocket).getPeerCertificate().subject : undefined;
    const line = {
      timestamp: new Date().toISOString(),
      message: 'bbs.access.done',
      method,
      request: url,
      status: response.statusCode,
      remote_addr: `${socket.remoteAddress}:${socket.remotePort}`,
      ...(subject && { peer: subject.CN }),
      ...(requestId !== '' && { request_id: requestId }),
      duration_ms: Math.round(durationMs * 1000) / 1000,
    };
    this.#stream?.write(`${JSON.stringify(line)}\n`);
  }

  /** What was added is written. Idempotent. */
  async stop(): Promise<void> {
    const stream = this.#stream;
    if (!stream || stream.closed) return;
    stream.end();
    await once(stream, 'close');
  }
}

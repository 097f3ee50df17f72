import { once } from 'node:events';
import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from 'node:http2';
import type { SecureContextOptions } from 'node:tls';

/** What came back of a call, as it was on the wire. */
export interface RawAnswer {
  headers: IncomingHttpHeaders;
  /** Those of the end; of an answer without a body they are the headers. */
  trailers: IncomingHttpHeaders;
  /** Of the one message; undefined when none came. */
  message: Buffer | undefined;
}

/** A gRPC peer that knows nothing but HTTP/2 and bytes. */
export class RawGrpc {
  readonly #session: ClientHttp2Session;

  constructor(port: number, tls: SecureContextOptions) {
    this.#session = connect(`https://127.0.0.1:${port}`, tls);
    this.#session.on('error', () => {});
  }

  /** Sends a message in its frame: one byte that it is not compressed, and its length. */
  call(path: string, message: Buffer, headers: Record<string, string> = {}): Promise<RawAnswer> {
    const frame = Buffer.alloc(5 + message.length);
    frame.writeUInt32BE(message.length, 1);
    message.copy(frame, 5);
    return this.callWith(path, frame, headers);
  }

  /** Sends any bytes as the body. */
  async callWith(path: string, body: Buffer, headers: Record<string, string> = {}): Promise<RawAnswer> {
    const stream = this.#session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    });
    const chunks: Buffer[] = [];
    let trailers: IncomingHttpHeaders | undefined;
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('trailers', (received: IncomingHttpHeaders) => {
      trailers = received;
    });
    const ended = once(stream, 'end');
    stream.end(body);
    const [received] = (await once(stream, 'response')) as [IncomingHttpHeaders];
    await ended;
    const all = Buffer.concat(chunks);
    return {
      headers: received,
      trailers: trailers ?? received,
      message: all.length >= 5 ? all.subarray(5) : undefined,
    };
  }

  close(): void {
    this.#session.destroy();
  }
}

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectSecurely } from 'node:tls';
import { BrokenStream, PeerTimeout, PeerUnreachable } from '../errors.js';
import { addressOf, type HttpPeer } from '../http-peer.js';
import { bodyDecoderFor } from './body-decoder.js';
import { MalformedResponse } from './malformed-response.js';
import { type ResponseHead, ResponseHeadParser } from './response-head.js';

/** A request whose answer is a stream. */
export interface StreamQuestion {
  method: 'GET' | 'POST';
  path: string;
  headers: Record<string, string>;
  body: Buffer;
}

export interface StreamConnectionOptions {
  peer: HttpPeer;
  question: StreamQuestion;
  /** Milliseconds. */
  connectTimeoutMs: number;
  /** Breaks the connection off. */
  signal: AbortSignal;
}

const keepAliveProbeMs = 30_000;

/**
 * One response on a connection of its own, read by our own parser, as that of Node refuses what a Go BBS sends
 * (docs/protocol/bbs.md §11.1). Nothing is read ahead of who reads the body: a slow reader slows the sender.
 */
export class StreamConnection {
  private constructor(
    private readonly socket: Socket,
    private readonly bytes: AsyncIterator<Buffer>,
    private readonly signal: AbortSignal,
    readonly head: ResponseHead,
    private readonly rest: Buffer,
  ) {}

  /**
   * Sends the request and reads its answer's head.
   * @throws PeerUnreachable; PeerTimeout; the signal's reason
   */
  static async open({ peer, question, connectTimeoutMs, signal }: StreamConnectionOptions): Promise<StreamConnection> {
    signal.throwIfAborted();
    const socket = peer.isSecure
      ? connectSecurely({ ...addressOf(peer), ...peer.tls })
      : connect({ ...addressOf(peer) });
    bindToSignal(socket, signal);
    try {
      await connected(socket, peer, connectTimeoutMs);
      socket.setKeepAlive(true, keepAliveProbeMs);
      socket.write(requestHead(peer, question));
      socket.write(question.body);
      const bytes = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
      const { head, rest } = await readHead(bytes);
      return new StreamConnection(socket, bytes, signal, head, rest);
    } catch (error) {
      socket.destroy();
      signal.throwIfAborted();
      if (error instanceof PeerTimeout) throw error;
      throw new PeerUnreachable(`${peer.url}: ${(error as Error).message}`, { cause: error });
    }
  }

  /**
   * The body as it comes; it is over when the peer has ended it properly.
   * @throws BrokenStream when the connection ends before; the signal's reason
   */
  async *body(): AsyncGenerator<Buffer, void, undefined> {
    try {
      const decoder = bodyDecoderFor(this.head);
      yield* decoder.push(this.rest);
      while (!decoder.isComplete) {
        const { done, value } = await this.bytes.next();
        if (!done) yield* decoder.push(value);
        else if (decoder.endsWithConnection) return;
        else throw new BrokenStream('the connection ended before the stream');
      }
    } catch (error) {
      this.signal.throwIfAborted();
      if (error instanceof BrokenStream || error instanceof MalformedResponse) throw error;
      throw new BrokenStream(`the stream broke off: ${(error as Error).message}`, { cause: error });
    } finally {
      this.close();
    }
  }

  /** Idempotent. */
  close(): void {
    this.socket.destroy();
  }
}

function bindToSignal(socket: Socket, signal: AbortSignal): void {
  const giveUp = () => socket.destroy(signal.reason instanceof Error ? signal.reason : undefined);
  signal.addEventListener('abort', giveUp, { once: true });
  socket.once('close', () => signal.removeEventListener('abort', giveUp));
  // Whoever reads learns of it.
  socket.on('error', () => {});
}

async function connected(socket: Socket, peer: HttpPeer, timeoutMs: number): Promise<void> {
  const late = new PeerTimeout(`Timeout exceeded: no connection to ${peer.url} within ${timeoutMs} ms`);
  const timer = setTimeout(() => socket.destroy(late), timeoutMs);
  try {
    await Promise.race([
      once(socket, peer.isSecure ? 'secureConnect' : 'connect'),
      once(socket, 'close').then(() => Promise.reject(new Error('the connection was closed'))),
    ]);
  } finally {
    clearTimeout(timer);
  }
}

function requestHead(peer: HttpPeer, { method, path, headers, body }: StreamQuestion): string {
  const all = { Host: peer.authority, ...headers, 'Content-Length': String(body.length) };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  return `${[`${method} ${peer.basePath}${path} HTTP/1.1`, ...lines].join('\r\n')}\r\n\r\n`;
}

async function readHead(bytes: AsyncIterator<Buffer>): Promise<{ head: ResponseHead; rest: Buffer }> {
  const parser = new ResponseHeadParser();
  for (;;) {
    const { done, value } = await bytes.next();
    if (done) throw new Error('the connection was closed without an answer');
    const result = parser.push(value);
    if (result) return result;
  }
}

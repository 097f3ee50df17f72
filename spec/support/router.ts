import { once } from 'node:events';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { LogData, Logger } from '../../lib/logging/logger.js';
import { silentLogger } from '../../lib/logging/logger.js';
import { completeRouterConfig, type RouterConfigInput } from '../../lib/router/config.js';
import { Router } from '../../lib/router/router.js';
import { eventually } from './eventually.js';
import { bodyOf } from './http-server.js';
import { type NatsServer, startNats } from './nats.js';
import { Peer } from './peer.js';

const status = { user: 'operator', pass: 'p@ss:word' };

export interface Answer {
  status: number;
  reason: string;
  headers: IncomingHttpHeaders;
  rawHeaders: string[];
  body: string;
}

export interface AskOptions {
  /** Value of the `Host` header. @default app.example.com */
  host?: string;
  method?: string;
  headers?: Record<string, string | string[]>;
  body?: string | Buffer;
}

export interface LogLine {
  level: string;
  message: string;
  data: LogData;
}

/** A real router on a real bus, and what a spec does with it. */
export class RouterRig {
  readonly lines: LogLine[] = [];
  private constructor(
    readonly nats: NatsServer,
    readonly peer: Peer,
    readonly router: Router,
    lines: LogLine[],
  ) {
    this.lines = lines;
  }

  static async start(config: Partial<RouterConfigInput> = {}, clock: () => number = Date.now): Promise<RouterRig> {
    const nats = await startNats();
    const peer = await Peer.connect(nats.url);
    const lines: LogLine[] = [];
    const router = Router.create({
      config: completeRouterConfig({
        ip: '127.0.0.1',
        port: 0,
        nats_servers: [nats.url],
        start_response_delay_interval: 0,
        status: { port: 0, ...status },
        ...config,
      }),
      logger: recordingLogger(lines),
      clock,
    });
    await router.start();
    await peer.next('router.start');
    return new RouterRig(nats, peer, router, lines);
  }

  async stop(): Promise<void> {
    await this.router.stop();
    await this.peer.close();
    await this.nats.stop();
  }

  /** Registers an endpoint on the loopback, by default for app.example.com, and waits until it is in the table. */
  async register(port: number, fields: Record<string, unknown> = {}): Promise<void> {
    const message = { host: '127.0.0.1', port, uris: ['app.example.com'], ...fields };
    this.peer.publish('router.register', message);
    const address = `${message.host}:${(fields.tls_port as number | undefined) ?? port}`;
    await eventually(async () => {
      const routes = await this.routes();
      const isThere = message.uris.every((uri) => routes[uri]?.some((each) => each.address === address));
      return isThere || undefined;
    });
  }

  async unregister(port: number, fields: Record<string, unknown> = {}): Promise<void> {
    this.peer.publish('router.unregister', { host: '127.0.0.1', port, uris: ['app.example.com'], ...fields });
    await eventually(async () => {
      const addresses = Object.values(await this.routes()).flatMap((list) => list.map(({ address }) => address));
      return !addresses.includes(`127.0.0.1:${port}`) || undefined;
    });
  }

  /** The table as `GET /routes` tells it. */
  async routes(): Promise<Record<string, { address: string }[]>> {
    const authorization = `Basic ${Buffer.from(`${status.user}:${status.pass}`).toString('base64')}`;
    const answer = await ask(this.router.statusPort!, '/routes', { headers: { authorization } });
    return JSON.parse(answer.body);
  }

  ask(path: string, options: AskOptions = {}): Promise<Answer> {
    return ask(this.router.port, path, options);
  }

  /** Sends bytes on a new connection and gives what comes until it closes. */
  async send(text: string): Promise<string> {
    const socket = this.connect();
    socket.write(text, 'latin1');
    return (await bodyOf(socket)).toString('latin1');
  }

  connect(): Socket {
    return connect(this.router.port, '127.0.0.1');
  }

  logged(message: string): LogLine[] {
    return this.lines.filter((line) => line.message === message);
  }
}

/** One request on a connection of its own. */
export async function ask(port: number, path: string, options: AskOptions = {}): Promise<Answer> {
  const { host = 'app.example.com', method = 'GET', headers = {}, body } = options;
  const request = httpRequest({ port, host: '127.0.0.1', path, method, agent: false, headers: { host, ...headers } });
  request.end(body);
  const [response] = await once(request, 'response', { signal: AbortSignal.timeout(10_000) });
  return {
    status: response.statusCode,
    reason: response.statusMessage,
    headers: response.headers,
    rawHeaders: response.rawHeaders,
    body: (await bodyOf(response)).toString(),
  };
}

function recordingLogger(lines: LogLine[]): Logger {
  const record =
    (level: string) =>
    (message: string, data: LogData = {}) =>
      void lines.push({ level, message, data });
  return { ...silentLogger, error: record('error'), warn: record('warn'), info: record('info') };
}

export interface RawBackend {
  port: number;
  /** What came on each connection, as it came. */
  received: string[];
  connections: number;
  stop(): Promise<void>;
}

/** A back end below HTTP: does with each connection what the spec says, as soon as a whole head has come. */
export async function startRawBackend(handle: (socket: Socket, head: string) => void): Promise<RawBackend> {
  const sockets = new Set<Socket>();
  const backend = { received: [] as string[], connections: 0 };
  const server = createServer((socket) => {
    const position = backend.connections;
    backend.connections += 1;
    backend.received[position] = '';
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
    let isHandled = false;
    socket.on('data', (chunk) => {
      backend.received[position] += chunk.toString('latin1');
      if (isHandled || !backend.received[position]!.includes('\r\n\r\n')) return;
      isHandled = true;
      handle(socket, backend.received[position]!);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return Object.assign(backend, {
    port: (server.address() as AddressInfo).port,
    async stop() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  });
}

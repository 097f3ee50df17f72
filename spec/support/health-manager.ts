import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { CertificateAuthority } from './certificates.js';
import { bodyOf } from './http-server.js';
import type { Message } from './peer.js';

export interface HealthManager {
  url: string;
  /** The section `hm9000` of an agent's configuration. */
  config: { listener_uri: string; key_file: string; cert_file: string; ca_file: string };
  /** Heartbeats in the order of their arrival. */
  heartbeats: { path: string; contentType: string | undefined; body: Message; at: number }[];
  /** Connections that were made. */
  connections: number;
  /** Requests that were not answered yet. */
  readonly open: number;
  /** Answers instead of the usual 202. */
  answer: (request: IncomingMessage, response: ServerResponse) => void;
  stop(): Promise<void>;
}

/** HM9000's listener for heartbeats: TLS that wants a certificate of its own authority. */
export async function startHealthManager(authority: CertificateAuthority): Promise<HealthManager> {
  const own = authority.issue({ alternativeNames: 'IP:127.0.0.1' });
  const client = authority.issue({ commonName: 'agent' });
  const sockets = new Set<Socket>();
  let open = 0;
  const server = createServer(
    { key: own.key, cert: own.cert, ca: authority.cert, requestCert: true, rejectUnauthorized: true },
    async (request, response) => {
      open += 1;
      response.once('close', () => {
        open -= 1;
      });
      const body = await bodyOf(request).catch(() => undefined);
      if (!body) return;
      manager.heartbeats.push({
        path: request.url!,
        contentType: request.headers['content-type'],
        body: JSON.parse(body.toString()),
        at: Date.now(),
      });
      manager.answer(request, response);
    },
  );
  server.keepAliveTimeout = 60_000;
  server.on('connection', (socket: Socket) => {
    manager.connections += 1;
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const url = `https://127.0.0.1:${port}`;
  const manager: HealthManager = {
    url,
    config: {
      listener_uri: url,
      key_file: client.keyFile,
      cert_file: client.certFile,
      ca_file: authority.certFile,
    },
    heartbeats: [],
    connections: 0,
    get open() {
      return open;
    },
    answer: (_request, response) => void response.writeHead(202).end(),
    async stop() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
  return manager;
}

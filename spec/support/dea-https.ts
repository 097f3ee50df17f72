import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Certificate } from './certificates.js';
import { bodyOf } from './http-server.js';
import type { Message } from './peer.js';

/** Where a played agent takes messages over HTTPS, from those with a certificate of the authority. */
export interface DeaHttps {
  url: string;
  /** What it took, in order; also what it refused. */
  taken: { path: string; message: Message }[];
  /** Status of the answer. @default 202 */
  judge: (path: string, message: Message) => number;
  stop(): Promise<void>;
}

export async function startDeaHttps(own: Certificate, authorityCert: Buffer): Promise<DeaHttps> {
  const server = createServer(
    { key: own.key, cert: own.cert, ca: authorityCert, requestCert: true, rejectUnauthorized: true },
    async (request, response) => {
      const message = JSON.parse((await bodyOf(request)).toString()) as Message;
      agent.taken.push({ path: request.url!, message });
      response.writeHead(agent.judge(request.url!, message)).end();
    },
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const agent: DeaHttps = {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    taken: [],
    judge: () => 202,
    async stop() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
  return agent;
}

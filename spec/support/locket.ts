import type { Identity } from '../../lib/http/internal-tls.js';
import { LocketClient, type LocketClientOptions } from '../../lib/locks/client/locket-client.js';
import { EmbeddedLockStore } from '../../lib/locks/embedded/embedded-store.js';
import type { LockStore } from '../../lib/locks/lock-store.js';
import { LocketServer, type LocketServerOptions } from '../../lib/locks/server/locket-server.js';
import { CertificateAuthority } from './certificates.js';

/** A component's certificate, good for the loopback, and the authority that it and its peers are of. */
export interface TestIdentity extends Identity {
  files: { caFile: string; certFile: string; keyFile: string };
  /** Removes the files. */
  remove(): void;
}

export function makeIdentity(
  alternativeNames = 'IP:127.0.0.1,DNS:localhost,DNS:locket.service.cf.internal',
): TestIdentity {
  const authority = CertificateAuthority.create();
  const { key, cert, keyFile, certFile } = authority.issue({ commonName: 'component', alternativeNames, days: 90 });
  const files = { caFile: authority.certFile, certFile, keyFile };
  return { ca: authority.cert, key, cert, files, remove: () => authority.remove() };
}

export interface RunningLocket {
  port: number;
  store: LockStore;
  /** Stopped with the server. */
  client(options?: Partial<LocketClientOptions>): LocketClient;
  stop(): Promise<void>;
}

/** Serves a store, one in memory by default, on the loopback. */
export async function startLocket(
  options: { identity: Identity; store?: LockStore } & Partial<LocketServerOptions>,
): Promise<RunningLocket> {
  const store = options.store ?? new EmbeddedLockStore();
  await store.start();
  const server = new LocketServer({ host: '127.0.0.1', port: 0, ...options, store });
  await server.start();
  const clients: LocketClient[] = [];
  return {
    port: server.port,
    store,
    client(more = {}) {
      const address = `127.0.0.1:${server.port}`;
      const client = new LocketClient({ address, identity: options.identity, timeoutMs: 5000, ...more });
      clients.push(client);
      return client;
    },
    async stop() {
      await Promise.all(clients.map((client) => client.stop()));
      await server.stop();
      await store.stop();
    },
  };
}

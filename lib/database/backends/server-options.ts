import type { DatabaseObserver } from '../database-observer.js';
import type { TlsOptions } from '../tls.js';

/** What is needed to connect to a database server. */
export interface ServerOptions {
  connectionString: string;
  maxConnections: number;
  connectTimeoutMs: number;
  idleTransactionTimeoutMs: number;
  lockTimeoutMs: number;
  tls: TlsOptions;
  observer?: DatabaseObserver | undefined;
}

import type { Identity } from '../../http/internal-tls.js';
import { LocketClient } from '../../locks/client/locket-client.js';
import { LockCollision } from '../../locks/lock-store.js';
import type { LockBackend } from './lock-backend.js';

export interface LocketLocksOptions {
  /** `host:port`. */
  address: string;
  identity: Identity;
  /** Name that the server's certificate must carry. @default the host */
  serverName?: string;
  /** Limit of a call, in milliseconds. @default 5000 */
  timeoutMs?: number;
}

/** Locks of a Locket, under `hm9000.<component>` (docs/protocol/health-manager.md §10). */
export class LocketLocks implements LockBackend {
  readonly #client: LocketClient;
  /** What each lock was granted as: another grant means that it was not ours in between. */
  readonly #grants = new Map<string, number | undefined>();

  constructor({ address, identity, serverName, timeoutMs = 5000 }: LocketLocksOptions) {
    this.#client = new LocketClient({ address, identity, timeoutMs, ...(serverName !== undefined && { serverName }) });
  }

  /** The connection is made by the first call, which may come before there is a Locket. */
  async start(): Promise<void> {}

  async stop(): Promise<void> {
    await this.#client.stop();
  }

  async take(component: string, token: string, ttlMs: number): Promise<boolean> {
    const grant = await this.#acquire(component, token, ttlMs);
    if (grant) this.#grants.set(component, grant.token);
    return grant !== undefined;
  }

  async renew(component: string, token: string, ttlMs: number): Promise<boolean> {
    const grant = await this.#acquire(component, token, ttlMs);
    return grant !== undefined && grant.token === this.#grants.get(component);
  }

  async free(component: string, token: string): Promise<void> {
    await this.#client.release(keyOf(component), token).catch(unlessCollision);
  }

  #acquire(component: string, owner: string, ttlMs: number) {
    // Locket counts in whole seconds; a holder who believes less than it has is safe.
    const wholeMs = Math.ceil(ttlMs / 1000) * 1000;
    return this.#client
      .acquire({ key: keyOf(component), owner, value: '', type: 'lock' }, wholeMs)
      .catch(unlessCollision);
  }
}

function keyOf(component: string): string {
  return `hm9000.${component}`;
}

function unlessCollision(error: unknown): undefined {
  if (!(error instanceof LockCollision)) throw error;
  return undefined;
}

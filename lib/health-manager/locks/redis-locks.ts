import type { Logger } from '../../logging/logger.js';
import { makeScript, RedisConnection } from '../store/redis/connection.js';
import type { LockBackend } from './lock-backend.js';

export interface RedisLocksOptions {
  /** As of the store; locks have a connection of their own, so that no long answer keeps them waiting. */
  url: string;
  /**
   * Begins the keys of locks: the store's prefix without its version, since health managers of two versions must not
   * work at a time.
   *
   * @default {hm}:
   */
  namespace?: string;
  /** Limit of a command, in milliseconds. @default 5000 */
  timeoutMs?: number;
  logger: Logger;
}

/**
 * As SET NX PX, but a holder whose first attempt went unanswered is not shut out by itself.
 *
 * KEYS: the lock. ARGV: token, TTL in milliseconds.
 */
const takeLock = makeScript(`
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`);

/** KEYS: the lock. ARGV: token, TTL in milliseconds. */
const renewLock = makeScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
`);

/** KEYS: the lock. ARGV: token. */
const freeLock = makeScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
`);

/** Locks as keys that expire, `<namespace>lock:<component>`, with the holder's token (docs/protocol/health-manager.md §10). */
export class RedisLocks implements LockBackend {
  readonly #connection: RedisConnection;

  constructor(private readonly options: RedisLocksOptions) {
    const { url, logger, timeoutMs } = options;
    this.#connection = new RedisConnection({ url, logger, ...(timeoutMs !== undefined && { timeoutMs }) });
  }

  async start(): Promise<void> {
    await this.#connection.start();
  }

  async stop(): Promise<void> {
    await this.#connection.stop();
  }

  async take(component: string, token: string, ttlMs: number): Promise<boolean> {
    return (await this.#connection.run(takeLock, this.#key(component), [token, ttlMs])) === 1;
  }

  async renew(component: string, token: string, ttlMs: number): Promise<boolean> {
    return (await this.#connection.run(renewLock, this.#key(component), [token, ttlMs])) === 1;
  }

  async free(component: string, token: string): Promise<void> {
    await this.#connection.run(freeLock, this.#key(component), [token]);
  }

  #key(component: string): string {
    return `${this.options.namespace ?? '{hm}:'}lock:${component}`;
  }
}

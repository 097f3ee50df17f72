import { randomUUID } from 'node:crypto';
import { Redis, type RedisOptions } from 'ioredis';
import { errorData, type Logger, silentLogger } from '../../logging/logger.js';
import { ExpiryListeners } from '../expiry-listeners.js';
import {
  type Expiry,
  LockCollision,
  type LockStore,
  LocksUnavailable,
  type Resource,
  type ResourceType,
  type StoreGrant,
} from '../lock-store.js';
import { type LockScript, type ScriptedRedis, withLockScripts } from './scripts.js';
import { readServer, unfitness } from './server-info.js';

export interface RedisLockStoreOptions {
  /** `redis://[user:password@]host:port[/db]`, `rediss://` for TLS; or Sentinels, which know where the primary is. */
  server: string | { sentinels: { host: string; port: number }[]; name: string; password?: string | undefined };
  /** Begins all keys; its hash tag keeps them in one slot of a cluster. @default {lk}: */
  prefix?: string;
  /**
   * How long nobody gets a key anew on a server that may lack the last grants: the largest ttl in use.
   * @default 15000
   */
  quarantineMs?: number;
  /** Replicas that must confirm a new grant before it is told. @default 0 */
  confirmingReplicas?: number;
  /** Limit of a command, in milliseconds. @default 2000 */
  timeoutMs?: number;
  /** Between two looks for expired keys. @default 1000 */
  sweepIntervalMs?: number;
  /** @default silent */
  logger?: Logger;
}

const confirmationMs = 200;
const longestStartMs = 10_000;
const [shortestReconnectMs, longestReconnectMs] = [50, 1000];

/**
 * Locks in a Redis that many processes share, by its server's clock (docs/protocol/edge.md §8.3).
 *
 * Each server has a run id. The one that grants last is written beside the locks, as their epoch: who comes to a server
 * with another one (restarted, or a replica that took over) enters a quarantine there for all, and nobody asks a server
 * at which it has not looked.
 */
export class RedisLockStore implements LockStore {
  readonly #redis: ScriptedRedis;
  readonly #logger: Logger;
  readonly #listeners = new ExpiryListeners();
  /** Run id of the server that this connection leads to, once it was looked at. */
  #epoch: string | undefined;
  #entering: Promise<void> | undefined;
  #sweepTimer: NodeJS.Timeout | undefined;
  #sweeping: Promise<void> | undefined;
  #isStopped = false;

  constructor(private readonly options: RedisLockStoreOptions) {
    const { server, timeoutMs = 2000, logger = silentLogger } = options;
    this.#logger = logger;
    const common: RedisOptions = {
      lazyConnect: true,
      connectTimeout: timeoutMs,
      commandTimeout: timeoutMs,
      // A connection that says nothing while it is asked is given up.
      socketTimeout: timeoutMs,
      enableOfflineQueue: false,
      // An acquire that is sent again would surprise.
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 1,
      retryStrategy: (attempt) =>
        Math.min(shortestReconnectMs * attempt, longestReconnectMs) * (0.75 + Math.random() / 2),
      reconnectOnError: (error) => error.message.startsWith('READONLY'),
    };
    this.#redis = withLockScripts(
      typeof server === 'string' ? new Redis(server, common) : new Redis({ ...server, ...common }),
    );
    this.#redis.on('error', (error: unknown) => logger.warn('locks.redis.connection-failed', errorData(error)));
    this.#redis.on('close', () => {
      // The same address may lead to another server next.
      this.#epoch = undefined;
    });
  }

  /** @throws when no Redis answers, or one that forgets keys when its memory is full */
  async start(): Promise<void> {
    try {
      await this.#connect();
      const fault = unfitness(await readServer(this.#redis));
      if (fault !== undefined) throw new Error(fault);
      await this.#enter();
    } catch (error) {
      await this.stop();
      throw new Error(`Redis cannot keep locks: ${(error as Error).message}`, { cause: error });
    }
    this.#sweepTimer = setInterval(() => this.#sweepOnce(), this.options.sweepIntervalMs ?? 1000);
  }

  /** Sentinels that do not answer would be asked for ever. */
  async #connect(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`no primary within ${longestStartMs} ms`)), longestStartMs);
    });
    try {
      await Promise.race([this.#redis.connect(), limit]);
    } finally {
      clearTimeout(timer);
    }
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearInterval(this.#sweepTimer);
    this.#redis.disconnect();
    await this.#sweeping;
  }

  async acquire(resource: Resource, ttlMs: number): Promise<StoreGrant> {
    const { key, owner, value, type } = resource;
    const wholeMs = String(Math.max(1, Math.ceil(ttlMs)));
    const answer = await this.#run('acquire', key, owner, value, type, wholeMs, randomUUID());
    if (answer[0] === 0) throw collision(key, answer);
    const [, token, index, granted, expired] = answer;
    if (expired !== '') this.#listeners.tell({ key, type: expired as ResourceType });
    if (granted === 1) await this.#confirm(key, owner);
    return { token: Number(token), index: index as number };
  }

  async release(key: string, owner: string): Promise<void> {
    const answer = await this.#run('release', key, owner);
    if (answer[0] === 0) throw collision(key, answer);
  }

  async fetch(key: string): Promise<Resource | undefined> {
    const [, owner, value, type] = await this.#run('fetch', key);
    if (owner === undefined) return undefined;
    return { key, owner: owner as string, value: value as string, type: type as ResourceType };
  }

  async list(type: ResourceType): Promise<Resource[]> {
    const [, ...fields] = (await this.#run('list', type)) as [number, ...string[]];
    const resources: Resource[] = [];
    for (let at = 0; at < fields.length; at += 3) {
      resources.push({ key: fields[at]!, owner: fields[at + 1]!, value: fields[at + 2]!, type });
    }
    return resources;
  }

  async count(type: ResourceType): Promise<number> {
    const [, number] = await this.#run('count', type);
    return number as number;
  }

  onExpired(listener: (expiry: Expiry) => void): () => void {
    return this.#listeners.add(listener);
  }

  /** A grant that only the primary knows would be lost with it. */
  async #confirm(key: string, owner: string): Promise<void> {
    const { confirmingReplicas = 0 } = this.options;
    if (confirmingReplicas === 0) return;
    const confirmed = await this.#attempt(() => this.#redis.wait(confirmingReplicas, confirmationMs));
    if (confirmed >= confirmingReplicas) return;
    await this.release(key, owner).catch((error: unknown) =>
      this.#logger.warn('locks.redis.release-failed', errorData(error)),
    );
    throw new LocksUnavailable(`${confirmed} of ${confirmingReplicas} replicas of Redis confirmed the grant`);
  }

  async #run(script: LockScript, ...args: string[]): Promise<unknown[]> {
    return this.#attempt(async () => {
      const answer = await this.#call(script, args);
      if (answer[0] !== -1) return answer;
      // Somebody emptied the server, or restored it.
      this.#epoch = undefined;
      const second = await this.#call(script, args);
      if (second[0] === -1) throw new LocksUnavailable('Redis changes too fast');
      return second;
    });
  }

  async #call(script: LockScript, args: string[]): Promise<unknown[]> {
    if (this.#epoch === undefined) await this.#enter();
    const epoch = this.#epoch ?? '';
    return this.#redis[`locks_${script}`](...this.#keys, this.#prefix, epoch, ...args);
  }

  /** Looks at the server once, for all who wait. */
  #enter(): Promise<void> {
    this.#entering ??= this.#lookAtServer().finally(() => {
      this.#entering = undefined;
    });
    return this.#entering;
  }

  async #lookAtServer(): Promise<void> {
    const { runId } = await readServer(this.#redis);
    const quarantineMs = String(this.options.quarantineMs ?? 15_000);
    const [, isQuarantined] = await this.#redis.locks_enter(...this.#keys, this.#prefix, runId, quarantineMs);
    if (isQuarantined === 1) this.#logger.warn('locks.redis.quarantine', { runId });
    this.#epoch = runId;
  }

  #sweepOnce(): void {
    this.#sweeping ??= this.#sweep().finally(() => {
      this.#sweeping = undefined;
    });
  }

  async #sweep(): Promise<void> {
    try {
      const [, ...swept] = (await this.#run('sweep')) as [number, ...string[]];
      for (let at = 0; at < swept.length; at += 2) {
        this.#listeners.tell({ type: swept[at] as ResourceType, key: swept[at + 1]! });
      }
    } catch (error) {
      if (!this.#isStopped) this.#logger.warn('locks.redis.sweep-failed', errorData(error));
    }
  }

  async #attempt<Result>(call: () => Promise<Result>): Promise<Result> {
    if (this.#redis.status !== 'ready') throw new LocksUnavailable('there is no connection to Redis');
    try {
      return await call();
    } catch (error) {
      if (error instanceof LocksUnavailable) throw error;
      throw new LocksUnavailable(`Redis: ${(error as Error).message}`, { cause: error });
    }
  }

  get #prefix(): string {
    return this.options.prefix ?? '{lk}:';
  }

  get #keys(): string[] {
    return [`${this.#prefix}epoch`, `${this.#prefix}quarantine`, `${this.#prefix}token`];
  }
}

function collision(key: string, [, owner]: unknown[]): LockCollision {
  return owner === '' ? new LockCollision(key) : new LockCollision(key, owner as string);
}

import { createHash } from 'node:crypto';
import { Redis } from 'ioredis';
import { errorData, type Logger } from '../../../logging/logger.js';
import { isNamed, StoreUnavailableError, WrongTypeError } from './errors.js';

/** A Lua script with the name that Redis knows it by. */
export interface Script {
  readonly source: string;
  readonly sha: string;
}

export interface RedisConnectionOptions {
  /** `redis://[user:password@]host:port[/db]`, or `rediss://` for TLS. */
  url: string;
  logger: Logger;
  /**
   * Limit of a command, in milliseconds.
   *
   * @default 5000
   */
  timeoutMs?: number;
}

type Argument = string | number;

/** Commands that may be under way at a time when each is a small one. */
const pipelineLimit = 500;
const longestReconnectDelayMs = 1000;

/**
 * A connection to one Redis that comes back by itself. A command fails within its limit, and at once while there is no
 * connection: nothing is queued to be carried out when nobody wants it any more.
 */
export class RedisConnection {
  readonly #redis: Redis;
  #isStopped = false;

  constructor(options: RedisConnectionOptions) {
    const { url, logger, timeoutMs = 5000 } = options;
    this.#redis = new Redis(url, {
      lazyConnect: true,
      connectTimeout: timeoutMs,
      commandTimeout: timeoutMs,
      // A connection that says nothing while it is asked is given up, and so are its commands.
      socketTimeout: timeoutMs,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      retryStrategy: (attempt) => Math.min(50 * attempt, longestReconnectDelayMs) * (0.75 + Math.random() / 2),
      // After a failover the address leads to another server.
      reconnectOnError: (error) => error.message.startsWith('READONLY'),
    });
    this.#redis.on('error', (error: unknown) => logger.warn('hm9000.store.connection-failed', errorData(error)));
    this.#redis.on('ready', () => logger.info('hm9000.store.connected', { address: this.address }));
    this.#redis.on('close', () => {
      if (!this.#isStopped) logger.warn('hm9000.store.disconnected', { address: this.address });
    });
  }

  /** Host and port, without credentials. */
  get address(): string {
    return `${this.#redis.options.host}:${this.#redis.options.port}`;
  }

  /** The commands that only read, and those that need no script. */
  get commands(): Redis {
    return this.#redis;
  }

  /** @throws StoreUnavailableError */
  async start(): Promise<void> {
    try {
      await this.#redis.connect();
    } catch (error) {
      await this.stop();
      throw new StoreUnavailableError(`no Redis answers at ${this.address}`, { cause: error });
    }
  }

  /** Idempotent. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#redis.disconnect();
  }

  /**
   * Runs a script in one piece.
   *
   * @throws StoreUnavailableError, WrongTypeError
   */
  run(script: Script, key: string, args: Argument[]): Promise<unknown> {
    return this.attempt(async () => {
      try {
        return await this.#redis.evalsha(script.sha, 1, key, ...args);
      } catch (error) {
        if (!messageOf(error).startsWith('NOSCRIPT')) throw error;
        return await this.#redis.eval(script.source, 1, key, ...args);
      }
    });
  }

  /**
   * Makes a call for each item, as many at a time as Redis can be expected to answer within the limit of a command.
   *
   * @param atATime fewer for calls that say or do much
   * @throws StoreUnavailableError, WrongTypeError
   */
  async each<Item, Result>(
    items: readonly Item[],
    call: (item: Item) => Promise<Result>,
    atATime = pipelineLimit,
  ): Promise<Result[]> {
    const results: Result[] = [];
    for (let at = 0; at < items.length; at += atATime) {
      results.push(...(await this.attempt(() => Promise.all(items.slice(at, at + atATime).map(call)))));
    }
    return results;
  }

  /** Gives what goes wrong its name. @throws StoreUnavailableError, WrongTypeError */
  async attempt<Result>(call: () => Promise<Result>): Promise<Result> {
    if (this.#redis.status !== 'ready') throw new StoreUnavailableError(`no connection to Redis at ${this.address}`);
    try {
      return await call();
    } catch (error) {
      if (isNamed(error)) throw error;
      const message = messageOf(error);
      if (message.includes('WRONGTYPE')) throw new WrongTypeError(message, { cause: error });
      throw new StoreUnavailableError(`Redis at ${this.address}: ${message}`, { cause: error });
    }
  }
}

/** @param body Lua; what it is called with: one key and its arguments */
export function makeScript(body: string): Script {
  const source = body.trim();
  return { source, sha: createHash('sha1').update(source).digest('hex') };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

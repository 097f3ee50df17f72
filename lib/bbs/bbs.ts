import type { HttpListener } from '../http/listener.js';
import type { Locks } from '../locks/lock-store.js';
import { LockRunner } from '../locks/runners/lock-runner.js';
import { errorData, type Logger } from '../logging/logger.js';
import { ActiveBoard } from './active-board.js';
import type { BbsConfig } from './config.js';
import { Figures } from './figures/figures.js';
import { OwnLocks } from './locks.js';
import { PresenceCells } from './peers/presence-cells.js';
import { healthListener } from './server/health-listener.js';
import { openStore } from './storage/open-store.js';

export interface BbsOptions {
  config: BbsConfig;
  /** It cannot go on: the process must end with a status that is not 0. Called once. */
  onFatal: (reason: string) => void;
  /** Nanoseconds since 1970. @default the system's clock */
  now?: () => bigint;
  /** So long are requests waited for when it stops, and half as long the database after them, ms. @default 60000 */
  stopMs?: number;
  logger: Logger;
}

/** docs/protocol/bbs.md §1, Server timeouts */
const defaultStopMs = 60_000;

/**
 * The Bulletin Board System (docs/protocol/bbs.md §16).
 *
 *   passive   waits for the lock; the API's port is closed, which is how clients find the active one
 *   active    has the lock, and serves
 *
 * Who loses the lock ends, and comes back as a passive one.
 */
export class Bbs {
  readonly #options: BbsOptions;
  readonly #figures: Figures;
  readonly #health: HttpListener;
  readonly #stopping: (() => Promise<void>)[] = [];
  #locks: OwnLocks | undefined;
  #active: ActiveBoard | undefined;
  #isServing = false;
  #lock: LockRunner | undefined;
  #running: Promise<void> | undefined;
  #isFatal = false;
  #stopped: Promise<void> | undefined;

  constructor(options: BbsOptions) {
    const { config, logger } = options;
    const { request_count, request_latency } = config.advanced_metrics.route_config;
    const isAdvanced = config.advanced_metrics.enabled;
    this.#options = options;
    this.#figures = new Figures({
      dropsondePort: config.dropsonde_port,
      countedRoutes: new Set(isAdvanced ? request_count : []),
      timedRoutes: new Set(isAdvanced ? request_latency : []),
      intervalMs: config.report_interval * 1000,
      isLockHeld: () => this.#lock?.isValid() ?? false,
      logger,
    });
    this.#health = healthListener({
      ...config.health_address,
      figures: this.#figures,
      isReady: () => this.#isServing,
    });
  }

  /**
   * Begins to wait for the lock.
   *
   * @throws when the database is not reached, a port is taken, or a file cannot be read
   */
  async start(): Promise<void> {
    try {
      await this.#start();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Resolves when it serves. @throws when it is stopped before */
  async whenActive(): Promise<void> {
    await this.#running;
    if (!this.#isServing) throw new Error('the board is not active');
  }

  /** Of the API; known while it is active. */
  get port(): number {
    if (!this.#active) throw new Error('the board is not active');
    return this.#active.port;
  }

  get healthPort(): number {
    return this.#health.port;
  }

  /** Its own lock, and the presences of cells. @throws before the start */
  get locks(): Locks {
    if (!this.#locks) throw new Error('the board is not started');
    return this.#locks.locks;
  }

  /** A convergence pass now; for those who cannot wait. */
  async converge(): Promise<void> {
    await this.#active?.convergence.run();
  }

  /**
   * In reverse order: the API first, the lock when nothing is written any more. Idempotent.
   *
   * @throws when the database hangs so that not all can be released
   */
  stop(): Promise<void> {
    this.#stopped ??= this.#stopInTime();
    return this.#stopped;
  }

  async #start(): Promise<void> {
    const { config, logger, now, stopMs = defaultStopMs } = this.#options;
    const figures = this.#figures;
    const store = openStore(config, {
      observer: figures.database,
      onMigrated: (durationMs) => figures.once('MigrationDuration', durationMs),
      onEncrypted: (durationMs) => figures.once('EncryptionDuration', durationMs),
      ...(now && { now }),
      logger,
    });
    this.#stopping.push(() => store.stop());
    await store.start();
    this.#watchHealth(store);
    await this.#health.start();
    this.#stopping.push(() => this.#health.stop());
    this.#figures.start();
    this.#stopping.push(() => this.#figures.stop());
    const locks = new OwnLocks(config, logger);
    this.#locks = locks;
    this.#stopping.push(() => locks.stop());
    await locks.start();

    const lock = new LockRunner({
      locks: locks.locks,
      key: 'bbs',
      owner: config.uuid,
      ttlMs: config.lock_ttl * 1000,
      retryIntervalMs: config.lock_retry_interval * 1000,
      onLost: (reason) => this.#fail(`the lock is lost: ${reason}`),
      logger,
    });
    this.#lock = lock;
    this.#stopping.push(() => lock.stop());
    lock.start();
    const active = new ActiveBoard({
      config,
      store,
      cells: new PresenceCells(locks.locks, logger),
      figures: this.#figures,
      mayWrite: () => lock.isValid(),
      onReignLost: () => this.#fail('another board has taken the database'),
      onUnrecoverable: (reason) => this.#giveUp(reason),
      now,
      stopMs,
      logger,
    });
    this.#running = this.#becomeActive(lock, active);
  }

  async #becomeActive(lock: LockRunner, active: ActiveBoard): Promise<void> {
    const { logger } = this.#options;
    try {
      await lock.whenHeld();
    } catch {
      // Stopped while it was passive.
      return;
    }
    this.#active = active;
    this.#stopping.push(() => active.stop());
    try {
      await active.start();
      this.#isServing = true;
      logger.info('bbs.started', { port: active.port });
    } catch (error) {
      logger.fatal('bbs.not-started', errorData(error));
      this.#fail((error as Error).message);
    }
  }

  #watchHealth(store: ReturnType<typeof openStore>): void {
    const { config } = this.#options;
    if (!config.enable_db_health_check) return;
    store.watchHealth({
      intervalMs: config.health_check_interval * 1000,
      timeoutMs: config.health_check_timeout * 1000,
      failureThreshold: config.health_check_failure_threshold,
      onFailure: () => this.#fail('the database fails its health check'),
    });
  }

  /** At once, but for the ends of event streams, without which nobody would miss what comes from another board. */
  #fail(reason: string): void {
    if (!this.#isLast(reason)) return;
    this.#active?.endStreams();
    setImmediate(() => this.#options.onFatal(reason));
  }

  /** Whoever waits for an answer gets it (docs/protocol/bbs.md §3, Unrecoverable). */
  #giveUp(reason: string): void {
    if (!this.#isLast(reason)) return;
    const end = () => this.#options.onFatal(reason);
    this.stop().then(end, end);
  }

  /** @returns false when it ends already */
  #isLast(reason: string): boolean {
    if (this.#isFatal || this.#stopped) return false;
    this.#isFatal = true;
    this.#options.logger.fatal('bbs.ends', { reason });
    return true;
  }

  async #stopInTime(): Promise<void> {
    const { stopMs = defaultStopMs } = this.#options;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error('the database does not answer')), stopMs * 1.5);
    });
    await Promise.race([this.#stop(), late]).finally(() => clearTimeout(timer));
  }

  async #stop(): Promise<void> {
    this.#isServing = false;
    // A lock that nobody has yet must not come in between.
    if (!this.#active) await this.#lock?.stop();
    await this.#running;
    for (let release = this.#stopping.pop(); release; release = this.#stopping.pop()) await release();
  }
}

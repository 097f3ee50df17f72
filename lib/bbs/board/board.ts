import { randomUUID } from 'node:crypto';
import { errorData, type Logger } from '../../logging/logger.js';
import type { Moment } from '../decisions/moment.js';
import type { EventHub } from '../events/event-hub.js';
import { Image } from '../image/image.js';
import { OutsideFailure } from '../outside-failure.js';
import { OutcomeUnknown, ReignLost, type RowChange, type Store, TableMissing } from '../storage/store.js';
import { KeyLocks } from './key-locks.js';

export interface BoardOptions {
  store: Store;
  events: EventHub;
  /** Whether this board is the one that may write, at this moment. @default always */
  mayWrite?: () => boolean;
  /** Another board has taken the database: this one must end. */
  onReignLost: () => void;
  /** Nothing can be written any more: this board must end, in order. */
  onUnrecoverable?: (reason: string) => void;
  /** Nanoseconds since 1970. @default the system's clock */
  now?: () => bigint;
  /** How long a call waits for a database that is away, ms. @default 10000 */
  patienceMs?: number;
  /** Between two attempts to read the database anew, ms. @default 1000 */
  retryMs?: number;
  logger: Logger;
}

/** The database does not answer, or what is in it is not known at the moment. */
export class BoardUnsettled extends OutsideFailure {}

/**
 * The image in memory, and the way in which it changes (docs/adr/0010-the-board-decides-by-index.md): who changes rows
 * holds their keys, decides on the image, writes, and only then changes the image and tells of it.
 *
 * When nobody knows whether a write came through, or somebody else has changed the database, everything is read anew.
 * Until then nothing is decided; reads go on. Whoever follows events must begin anew, so their streams end.
 */
export class Board {
  readonly events: EventHub;
  readonly locks = new KeyLocks();
  readonly #options: BoardOptions;
  readonly #writes = new Set<Promise<void>>();
  #image = new Image();
  /** While the image is in doubt: settles when it is true again. */
  #reading: Promise<void> | undefined;
  #isStopped = false;
  #wake: (() => void) | undefined;

  constructor(options: BoardOptions) {
    this.#options = options;
    this.events = options.events;
  }

  get image(): Image {
    return this.#image;
  }

  /** Of a decision that is made now. */
  moment(): Moment {
    return { now: this.now(), newEpoch: randomUUID };
  }

  now(): bigint {
    return this.#options.now?.() ?? BigInt(Date.now()) * 1_000_000n;
  }

  /** Reads everything. The database must be this board's. */
  async start(): Promise<void> {
    this.#image = await this.#load();
  }

  /** Ends when what is being written is. Idempotent. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#wake?.();
    await Promise.all([this.#reading, ...this.#settledWrites()]);
  }

  /**
   * Runs while nobody else changes what the keys stand for, and the image is true.
   *
   * @throws BoardUnsettled when that takes too long
   */
  hold<T>(keys: readonly string[], work: () => Promise<T>): Promise<T> {
    return this.locks.runAll(keys, async () => {
      if (this.#reading) await this.#settled(this.#reading);
      return work();
    });
  }

  /**
   * Writes rows, then has the image changed. To be called in `hold`, right after the decision.
   *
   * @throws as Store.write
   */
  async commit(changes: readonly RowChange[], apply: (image: Image) => void): Promise<void> {
    if (changes.length > 0) await this.#write(changes);
    apply(this.#image);
  }

  /** Reads everything anew; who calls has seen that somebody else has changed the database. */
  reload(reason: string): Promise<void> {
    this.#reading ??= this.#readAnew(reason).finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  /** Whether somebody else has changed the database; then it is read anew. */
  async check(): Promise<void> {
    if (this.#reading || (await this.#options.store.isUntouched())) return;
    await this.reload('somebody else has changed the database');
  }

  async #write(changes: readonly RowChange[]): Promise<void> {
    const { store, mayWrite } = this.#options;
    if (mayWrite?.() === false) throw new ReignLost('the lock is not held any more');
    const writing = store.write(changes);
    this.#writes.add(writing);
    try {
      await writing;
    } catch (error) {
      if (error instanceof ReignLost) this.#options.onReignLost();
      if (error instanceof TableMissing) this.#options.onUnrecoverable?.(error.message);
      if (error instanceof OutcomeUnknown) void this.reload(error.message);
      throw error;
    } finally {
      this.#writes.delete(writing);
    }
  }

  async #readAnew(reason: string): Promise<void> {
    const { logger, retryMs = 1000 } = this.#options;
    logger.warn('bbs.board.reading-anew', { reason });
    await Promise.all(this.#settledWrites());
    for (;;) {
      try {
        this.#image = await this.#load();
        break;
      } catch (error) {
        logger.error('bbs.board.not-read', errorData(error));
      }
      if (this.#isStopped) return;
      await this.#pause(retryMs);
    }
    this.events.endStreams();
    logger.info('bbs.board.read-anew');
  }

  async #load(): Promise<Image> {
    const image = new Image();
    await this.#options.store.load(image);
    return image;
  }

  #settledWrites(): Promise<void>[] {
    return [...this.#writes].map((writing) => writing.catch(() => {}));
  }

  async #settled(reading: Promise<void>): Promise<void> {
    const { patienceMs = 10_000 } = this.#options;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new BoardUnsettled('the database does not answer')), patienceMs);
    });
    await Promise.race([reading, late]).finally(() => clearTimeout(timer));
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

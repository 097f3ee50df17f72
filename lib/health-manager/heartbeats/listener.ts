import { errorData, type Logger } from '../../logging/logger.js';
import type { MetricSink } from '../../metrics/metric-sink.js';
import type { EvacuationStarts } from '../orders/evacuation-starts.js';
import type { HealthStore, ReceivedHeartbeat } from '../store/health-store.js';
import { HeartbeatError, readHeartbeat } from './heartbeat-message.js';
import { digestOf, Repetitions } from './repetitions.js';

export interface ListenerOptions {
  store: HealthStore;
  evacuationStarts: EvacuationStarts;
  metrics: MetricSink;
  /** Time for which heartbeats are collected, in milliseconds. */
  flushIntervalMs: number;
  /** A save that takes longer says nothing about now; milliseconds. */
  slowSaveMs: number;
  /**
   * After so many milliseconds without any heartbeat an advertisement counts as a heartbeat: very old agents that run
   * nothing send none (docs/protocol/health-manager.md §2.2). Undefined: never.
   */
  advertisementsCountAfterMs?: number | undefined;
  logger: Logger;
}

/** A heartbeat with the name of its bytes. */
interface Buffered extends ReceivedHeartbeat {
  readonly digest: string;
}

/** Agents that were not heard of for so many flushes are forgotten. */
const flushesUntilForgotten = 120;

/**
 * Takes heartbeats from agents, saves them once a second in one go, and thereby keeps the actual state fresh
 * (docs/protocol/health-manager.md §4).
 */
export class Listener {
  #buffer = new Map<string, Buffered>();
  #received = 0;
  readonly #repetitions = new Repetitions();
  #heardOf = new Set<string>();
  #flushes = 0;
  #heardAt = performance.now();
  #isAdvertised = false;
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> | undefined;

  constructor(private readonly options: ListenerOptions) {}

  start(): void {
    this.#timer = setInterval(() => this.#flushUnlessBusy(), this.options.flushIntervalMs);
  }

  /** Saves what is there, and takes nothing more. Idempotent. */
  async stop(): Promise<void> {
    if (this.#timer === undefined) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    await this.#flushing;
    await this.flush();
  }

  /**
   * @param payload what came, as JSON
   * @throws HeartbeatError
   */
  receive(payload: Uint8Array): void {
    const digest = digestOf(payload);
    const dea = this.#repetitions.deaOf(digest);
    const heartbeat = dea === undefined ? this.#read(payload, digest) : repeated(dea, payload, digest);
    this.#buffer.set(heartbeat.dea, heartbeat);
    this.#received += 1;
    this.#heardAt = performance.now();
  }

  /** An agent advertises itself. */
  receiveAdvertisement(): void {
    this.#isAdvertised = true;
  }

  /** As `receive`; a message that says nothing is logged and dropped. */
  receiveOrDrop(payload: Uint8Array): void {
    try {
      this.receive(payload);
    } catch (error) {
      if (!(error instanceof HeartbeatError)) throw error;
      const start = Buffer.from(payload.subarray(0, 200)).toString();
      this.options.logger.error('Failed to unmarshal dea heartbeat', { reason: error.message, body: start });
    }
  }

  /** Saves what was received since the last flush. Does not reject: a failure is told by the state not being fresh. */
  async flush(): Promise<void> {
    const batch = [...this.#buffer.values()];
    const received = this.#received;
    this.#buffer = new Map();
    this.#received = 0;
    this.options.metrics.set('ReceivedHeartbeats', received);
    if (batch.length === 0) return this.#believeAdvertisements();
    const evacuating = await this.#save(batch);
    if (evacuating === undefined) return;
    this.options.metrics.set('SavedHeartbeats', received);
    await this.options.evacuationStarts
      .order(evacuating, this.options.metrics)
      .catch((error: unknown) => this.options.logger.error('listener.evacuation-starts.failed', errorData(error)));
  }

  #flushUnlessBusy(): void {
    if (this.#flushing) return;
    this.#flushing = this.flush().finally(() => {
      this.#flushing = undefined;
    });
  }

  async #believeAdvertisements(): Promise<void> {
    const { store, advertisementsCountAfterMs = Number.POSITIVE_INFINITY, logger } = this.options;
    const isAdvertised = this.#isAdvertised;
    this.#isAdvertised = false;
    if (!isAdvertised || performance.now() - this.#heardAt < advertisementsCountAfterMs) return;
    await store.bumpActual().catch((error: unknown) => logger.error('Failed to bump freshness', errorData(error)));
  }

  #read(payload: Uint8Array, digest: string): Buffered {
    const { skipped, ...heartbeat } = readHeartbeat(payload);
    if (skipped.length > 0) {
      const first = skipped.slice(0, 10);
      this.options.logger.error('Skipped entries of a dea heartbeat', { dea: heartbeat.dea, entries: first });
    }
    return { dea: heartbeat.dea, isRepeated: false, digest, read: () => heartbeat };
  }

  /** @returns the instances that began to evacuate, undefined when nothing could be saved */
  async #save(batch: Buffered[]) {
    const { store, logger, slowSaveMs } = this.options;
    const begun = performance.now();
    try {
      const evacuating = await store.saveHeartbeats(batch);
      if (performance.now() - begun < slowSaveMs) await store.bumpActual();
      else logger.warn('Save took too long.  Not bumping freshness.', { seconds: (performance.now() - begun) / 1000 });
      this.#remember(batch);
      return evacuating;
    } catch (error) {
      logger.error('Failed to save heartbeats; revoking freshness', errorData(error));
      // What the store knows now is anybody's guess: every agent is read again.
      this.#repetitions.clear();
      await store
        .revokeActual()
        .catch((failure: unknown) => logger.error('Failed to revoke freshness', errorData(failure)));
      return undefined;
    }
  }

  #remember(batch: Buffered[]): void {
    for (const { dea, digest } of batch) {
      this.#repetitions.note(dea, digest);
      this.#heardOf.add(dea);
    }
    this.#flushes += 1;
    if (this.#flushes % flushesUntilForgotten !== 0) return;
    this.#repetitions.keepOnly(this.#heardOf);
    this.#heardOf = new Set();
  }
}

function repeated(dea: string, payload: Uint8Array, digest: string): Buffered {
  return { dea, isRepeated: true, digest, read: () => readHeartbeat(payload) };
}

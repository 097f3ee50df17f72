import { errorData, type Logger } from '../../logging/logger.js';
import type { MetricSink } from '../../metrics/metric-sink.js';
import { requireFresh } from '../decisions/freshness.js';
import { inSendingOrder, isDue, isExpired, isOutOfTime } from '../decisions/schedule.js';
import type { StartBudget } from '../decisions/start-budget.js';
import { isStartWanted, verifyStop } from '../decisions/verification.js';
import type { AppState, PendingMessage, PendingStart, PendingStop, StartReason, StopReason } from '../records.js';
import type { HealthStore, SendResult } from '../store/health-store.js';
import { type OrderTransport, startOrder, stopOrder } from './transport.js';

export interface SenderOptions {
  store: HealthStore;
  transport: OrderTransport;
  /** Starts that one pass may send; stops are not limited. */
  startsPerPass: number;
  /** Starts over time. */
  startBudget: StartBudget;
  /** Seconds that an order may have to wait; one that has to wait longer is of before the clock was set back. */
  longestDelay: number;
  /** While it says so no stop is sent: the desired state is in doubt. */
  isHoldingStops?: () => boolean;
  /** While it says no, nothing is sent: somebody else may be at it. @default always */
  mayOrder?: () => boolean;
  metrics: MetricSink;
  logger: Logger;
}

/** Orders that were not taken; they wait for the next pass. */
export class OrdersRefusedError extends Error {
  constructor(readonly count: number) {
    super(`the Cloud Controller did not accept ${count} orders`);
  }
}

/** Orders that are under way at once. */
const concurrency = 10;
/** So many failures in a row, and the Cloud Controller is left alone until the next pass. */
const failuresUntilGivingUp = 20;

const startCounters: Record<StartReason, string> = {
  MISSING: 'StartMissing',
  CRASHED: 'StartCrashed',
  EVACUATING: 'StartEvacuating',
};
const stopCounters: Record<StopReason, string> = {
  EXTRA: 'StopExtra',
  DUPLICATE: 'StopDuplicate',
  EVACUATION_COMPLETE: 'StopEvacuationComplete',
};

/**
 * Sends the orders whose time has come, after a last look at each, and forgets those that have done their work
 * (docs/protocol/health-manager.md §6.3).
 */
export class Sender {
  constructor(private readonly options: SenderOptions) {}

  /**
   * Orders that fail wait for the next pass.
   *
   * @throws NotFreshError, then nothing was sent or forgotten
   * @throws OrdersRefusedError after all others were tried
   */
  async send(signal?: AbortSignal): Promise<void> {
    const { store } = this.options;
    requireFresh(await store.freshness());
    const [starts, stops, now] = await Promise.all([store.pendingStarts(), store.pendingStops(), store.now()]);
    const pass = new SendPass(this.options, now, signal);
    await pass.forgetExpired(starts, stops);
    await pass.sendStarts(inSendingOrder(starts.filter((start) => isDue(start, now))));
    if (!this.options.isHoldingStops?.()) await pass.sendStops(stops.filter((stop) => isDue(stop, now)));
    pass.finish(this.options.metrics);
  }

  /**
   * Sends only these starts, which are in the store already.
   *
   * @param metrics of the component that wants them sent
   * @throws NotFreshError, OrdersRefusedError; they wait for the next pass
   */
  async sendNow(starts: PendingStart[], metrics: MetricSink): Promise<void> {
    const { store } = this.options;
    requireFresh(await store.freshness());
    const pass = new SendPass(this.options, await store.now());
    await pass.sendStarts(starts);
    pass.finish(metrics);
  }
}

class SendPass {
  #startsLeft: number;
  #refused = 0;
  #failuresInARow = 0;
  readonly #counts = new Map<string, number>();
  /** Instances that a stop of this pass is on the way to. */
  readonly #stopping = new Set<string>();

  constructor(
    private readonly options: SenderOptions,
    private readonly now: number,
    private readonly signal?: AbortSignal,
  ) {
    this.#startsLeft = options.startsPerPass;
  }

  async forgetExpired(starts: PendingStart[], stops: PendingStop[]): Promise<void> {
    const isOver = (order: PendingMessage) =>
      isExpired(order, this.now) || isOutOfTime(order, this.now, this.options.longestDelay);
    const [deletedStarts, deletedStops] = [starts.filter(isOver), stops.filter(isOver)];
    if (deletedStarts.length + deletedStops.length > 0) await this.#commit({ deletedStarts, deletedStops });
  }

  async sendStarts(starts: PendingStart[]): Promise<void> {
    let waiting = starts;
    // A start that fails gives its place to one that found the limit reached while it was under way.
    while (waiting.length > 0 && this.#hasRoom && !this.#hasGivenUp) waiting = await this.#sendStarts(waiting);
  }

  /** @returns those for which the limit left no room */
  async #sendStarts(starts: PendingStart[]): Promise<PendingStart[]> {
    const { transport } = this.options;
    const left: PendingStart[] = [];
    await this.#inParallel(starts, async (start, app) => {
      if (!isStartWanted(start, app)) {
        await this.#commit({ deletedStarts: [start] });
        return;
      }
      if (!this.#takeRoom()) {
        left.push(start);
        return;
      }
      const isSent = await this.#attempt('start', start, () => transport.start(startOrder(start)));
      if (!isSent) {
        this.#giveRoomBack();
        return;
      }
      this.#count(startCounters[start.reason]);
      await this.#commit(start.keepAlive === 0 ? { deletedStarts: [start] } : { sentStarts: [this.#sent(start)] });
    });
    return left;
  }

  /**
   * Of duplicates the one whose stop fell due first goes: where that was sent before, and the health manager was killed
   * before it could note so, it is the same one again and not the other.
   */
  async sendStops(stops: PendingStop[]): Promise<void> {
    const { transport } = this.options;
    const oldestFirst = [...stops].sort((a, b) => a.sendOn - b.sendOn);
    await this.#inParallel(oldestFirst, async (stop, app) => {
      const { instance } = stop;
      const verdict = verifyStop(stop, app, (other) => this.#isStopping(other, app));
      if (!verdict) {
        await this.#commit({ deletedStops: [stop] });
        return;
      }
      this.#stopping.add(instance);
      if (!(await this.#attempt('stop', stop, () => transport.stop(stopOrder(stop, verdict))))) {
        this.#stopping.delete(instance);
        return;
      }
      this.#count(stopCounters[stop.reason]);
      await this.#commit(stop.keepAlive === 0 ? { deletedStops: [stop] } : { sentStops: [this.#sent(stop)] });
    });
  }

  /** @throws OrdersRefusedError */
  finish(metrics: MetricSink): void {
    for (const [name, count] of this.#counts) metrics.add(name, count);
    if (this.#refused > 0) throw new OrdersRefusedError(this.#refused);
  }

  /** Takes the orders one after the other, a few at a time, each with what is known of its app. */
  async #inParallel<Order extends PendingMessage>(
    orders: Order[],
    treat: (order: Order, app: AppState | undefined) => Promise<void>,
  ): Promise<void> {
    const apps = await this.options.store.getApps(orders);
    const waiting = orders.entries();
    const work = async () => {
      for (const [position, order] of waiting) {
        if (this.#hasGivenUp) return;
        await treat(order, apps[position]);
      }
    };
    await Promise.all(Array.from({ length: Math.min(concurrency, orders.length) }, work));
  }

  get #hasRoom(): boolean {
    return this.#startsLeft > 0 && this.options.startBudget.hasRoom(performance.now());
  }

  #takeRoom(): boolean {
    if (this.#startsLeft <= 0 || !this.options.startBudget.take(performance.now())) return false;
    this.#startsLeft -= 1;
    return true;
  }

  #giveRoomBack(): void {
    this.#startsLeft += 1;
    this.options.startBudget.giveBack();
  }

  #isStopping(instance: string, app: AppState | undefined): boolean {
    return this.#stopping.has(instance) || (app?.pendingStops.get(instance)?.sentOn ?? 0) !== 0;
  }

  get #hasGivenUp(): boolean {
    if (this.signal?.aborted || this.#failuresInARow >= failuresUntilGivingUp) return true;
    return this.options.mayOrder?.() === false;
  }

  async #attempt(kind: 'start' | 'stop', { messageId, app }: PendingMessage, send: () => Promise<void>) {
    try {
      await send();
      this.#failuresInARow = 0;
      return true;
    } catch (error) {
      this.#failuresInARow += 1;
      this.#refused += 1;
      const data = { message_id: messageId, app, ...errorData(error) };
      this.options.logger.error(`Cloud Controller did not accept ${kind} message`, data);
      return false;
    }
  }

  #sent<Order extends PendingMessage>(order: Order): Order {
    return { ...order, sentOn: this.now };
  }

  #count(counter: string): void {
    this.#counts.set(counter, (this.#counts.get(counter) ?? 0) + 1);
  }

  /** Each order by itself, as soon as it is settled: a killed health manager sends next to nothing twice. */
  #commit(result: Partial<SendResult>): Promise<void> {
    const nothing = { sentStarts: [], sentStops: [], deletedStarts: [], deletedStops: [] };
    return this.options.store.commitSendResult({ ...nothing, ...result });
  }
}

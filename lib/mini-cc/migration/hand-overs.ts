import { errorData, type Logger } from '../../logging/logger.js';
import type { DeaClient } from '../agents/dea-client.js';
import { type App, type Backend, indexRange } from '../apps/app.js';
import { processGuid } from '../diego/guids.js';
import type { DiegoRunner } from '../diego/runner.js';
import { type TpsClient, TpsUnavailableError } from '../diego/tps-client.js';
import type { FindState } from '../messages.js';
import type { AppStore } from '../store/app-store.js';
import type { HandOver, HandOverStore } from '../store/hand-over-store.js';
import { isPending, nextStep } from './decisions.js';
import type { HoldClient } from './hold-client.js';

export interface HandOversOptions {
  apps: AppStore;
  store: HandOverStore;
  holds: HoldClient;
  deas: DeaClient;
  diego: DiegoRunner;
  tps: TpsClient;
  /** How often it is looked whether the target runs an app. */
  checkMs: number;
  logger: Logger;
}

/**
 * Sees to it that a started app, which changes sides, is stopped where it was only after it runs where it goes
 * (docs/protocol/legacy-cc.md §9.6):
 *
 *   to diego: begin: the health manager holds its stops
 *             --> tps tells twice of all indices RUNNING: the hold is released, and the health manager has the instances
 *                 on cells stopped, because the app is not among those it reads
 *   to dea:   begin: the app stays among those the bridge reads
 *             --> cells tell twice of all indices RUNNING: it is not there any more, and nsync is told to stop it
 */
export class HandOvers {
  private timer: NodeJS.Timeout | undefined;
  /** The look that is under way. */
  private looking: Promise<void> | undefined;
  private readonly releasing = new Set<Promise<void>>();
  /**
   * When those began, by app, that could be completed at the last look. One look is not enough: what is about to be
   * stopped, or to crash, may be told of as running for a moment.
   */
  private readonly completeBefore = new Map<string, string>();

  constructor(private readonly options: HandOversOptions) {}

  start(): void {
    this.timer = setInterval(() => {
      this.looking ??= this.look().finally(() => {
        this.looking = undefined;
      });
    }, this.options.checkMs);
    this.timer.unref();
  }

  /** Waits for what is under way. Idempotent. */
  async stop(): Promise<void> {
    clearInterval(this.timer);
    await Promise.all([this.looking, ...this.releasing]);
  }

  /** The one that is under way. */
  find(appGuid: string): HandOver | undefined {
    return this.options.store.find(appGuid);
  }

  /** Has the health manager stop nothing of an app that is about to go to Diego. Never rejects. */
  hold(appGuid: string): Promise<void> {
    return this.options.holds.hold(appGuid);
  }

  /** @param before the app as the side that it leaves has it */
  begin(before: App, target: Backend): void {
    this.options.store.put(before.guid, target, before.version);
    // Cells are to run it again: orders to stop it are ignored, and those of old versions must not wait.
    if (target === 'dea') this.release(before.guid);
    this.options.logger.info('mini-cc.hand-over.begun', { app: before.guid, target });
  }

  /** Nothing is waited for any more: the app is stopped, or goes. */
  end(appGuid: string): void {
    const handOver = this.find(appGuid);
    if (!handOver) return;
    this.options.store.delete(appGuid);
    this.completeBefore.delete(appGuid);
    if (handOver.target === 'diego') this.release(appGuid);
  }

  /** How many instances live on cells, of any version, and how many run on Diego; null where that cannot be said. */
  async counts(app: App): Promise<Record<Backend, number | null>> {
    const { deas } = this.options;
    const states: FindState[] = ['STARTING', 'RUNNING'];
    const handOver = this.find(app.guid);
    const onDiego = handOver?.target === 'dea' ? { ...app, version: handOver.version } : app;
    const [dea, diego] = await Promise.all([deas.findAll({ droplet: app.guid, states }), this.runningOnDiego(onDiego)]);
    return { dea: dea.length, diego: diego?.size ?? null };
  }

  /**
   * Indices that a side is known to run in the app's version; undefined when it does not answer. Cells that do not
   * answer count as having none.
   */
  private async running(app: App, backend: Backend): Promise<Set<number> | undefined> {
    return backend === 'diego' ? this.runningOnDiego(app) : this.runningOnCells(app);
  }

  private async look(): Promise<void> {
    await Promise.all(this.options.store.list().map((handOver) => this.lookAt(handOver)));
  }

  /** Never rejects. */
  private async lookAt(handOver: HandOver): Promise<void> {
    const { apps, holds, logger } = this.options;
    const { app_guid: guid, target } = handOver;
    try {
      const asked = apps.find(guid);
      const running = isPending(handOver, asked) ? await this.running(asked, target) : undefined;
      // What was found out is true of the app as it was; if it has changed meanwhile, the next look tells.
      const app = apps.find(guid);
      if (app?.updated_at !== asked?.updated_at || this.find(guid)?.begun_at !== handOver.begun_at) return;
      const step = nextStep(handOver, app, running);
      if (step === 'drop') return this.end(guid);
      const isConfirmed = this.confirm(handOver, step === 'complete');
      if (isConfirmed) return await this.complete(app!, handOver);
      if (target === 'diego') await holds.hold(guid);
    } catch (error) {
      logger.error('mini-cc.hand-over.failed', { app: guid, target, ...errorData(error) });
    }
  }

  /** Whether it could be completed at the look before as well. */
  private confirm({ app_guid: guid, begun_at }: HandOver, isComplete: boolean): boolean {
    const isConfirmed = isComplete && this.completeBefore.get(guid) === begun_at;
    if (isComplete && !isConfirmed) this.completeBefore.set(guid, begun_at);
    else this.completeBefore.delete(guid);
    return isConfirmed;
  }

  private async complete(app: App, handOver: HandOver): Promise<void> {
    const { diego, logger } = this.options;
    this.end(app.guid);
    logger.info('mini-cc.hand-over.done', { app: app.guid, target: handOver.target });
    // The bridge's next look at the bulk data would find it out as well.
    if (handOver.target === 'dea') await diego.stop({ guid: app.guid, version: handOver.version });
  }

  private async runningOnDiego(app: App): Promise<Set<number> | undefined> {
    try {
      const lrps = await this.options.tps.instances(processGuid(app));
      return new Set(lrps.filter(({ state }) => state === 'RUNNING').map(({ index }) => index));
    } catch (error) {
      if (!(error instanceof TpsUnavailableError)) throw error;
      this.options.logger.warn('mini-cc.tps.unavailable', { app: app.guid, problem: error.message });
      return undefined;
    }
  }

  private async runningOnCells({ guid: droplet, version, instances }: App): Promise<Set<number>> {
    const query = { droplet, version, states: ['RUNNING' as const] };
    const found = await this.options.deas.findInstances(query, indexRange(0, instances));
    return new Set(found.keys());
  }

  /** Ends a hold in the background. */
  release(appGuid: string): void {
    const released = this.options.holds.release(appGuid).finally(() => this.releasing.delete(released));
    this.releasing.add(released);
  }
}

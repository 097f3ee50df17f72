import { z } from 'zod';
import type { Bus, BusMessage, Subscription } from '../../bus/bus.js';
import { answeringQueue, subjects } from '../messages.js';
import { type AppState, isKnown, isLive } from '../records.js';
import type { HealthStore } from '../store/health-store.js';

export interface LegacyAnswersOptions {
  bus: Bus;
  store: HealthStore;
  /** From so many crashes on an index is said to flap. */
  flappingCrashCount: number;
}

const statusSchema = z.object({
  droplet: z.string().min(1),
  version: z.string().optional(),
  state: z.enum(['CRASHED', 'FLAPPING']),
});
const healthSchema = z.object({ droplets: z.array(z.object({ droplet: z.string(), version: z.string() })) });

/**
 * What Cloud Controllers of before March 2014 ask on the bus: which instances crashed or flap, and how many are well
 * (docs/protocol/health-manager.md §6.4). While nothing is known for sure they get no answer.
 */
export class LegacyAnswers {
  #subscriptions: Subscription[] = [];

  constructor(private readonly options: LegacyAnswersOptions) {}

  /** Also asks all agents for a heartbeat, as health managers of that time did when they came up. */
  start(): void {
    const { bus } = this.options;
    const queue = { queue: answeringQueue };
    this.#subscriptions = [
      bus.subscribe(subjects.healthManagerStatus, (message) => this.#answerStatus(message), queue),
      bus.subscribe(subjects.healthManagerHealth, (message) => this.#answerHealth(message), queue),
    ];
    bus.publish(subjects.healthManagerStart, {});
  }

  /** Idempotent. */
  stop(): void {
    for (const subscription of this.#subscriptions.splice(0)) subscription.unsubscribe();
  }

  async #answerStatus(message: BusMessage): Promise<void> {
    const question = statusSchema.safeParse(message.data);
    if (!message.hasReply || !question.success || !(await this.#isFresh())) return;
    const { droplet, version, state } = question.data;
    const apps = version === undefined ? await this.#allVersionsOf(droplet) : await this.#known([{ droplet, version }]);
    if (apps.length === 0) return;
    message.reply(
      state === 'CRASHED'
        ? { instances: apps.flatMap(crashedInstances) }
        : { indices: apps.flatMap((app) => this.#flappingIndices(app)) },
    );
  }

  /** One reply for each app that is known. */
  async #answerHealth(message: BusMessage): Promise<void> {
    const question = healthSchema.safeParse(message.data);
    if (!message.hasReply || !question.success || !(await this.#isFresh())) return;
    for (const app of await this.#known(question.data.droplets)) {
      message.reply({ droplet: app.app, version: app.version, healthy: healthyIndices(app) });
    }
  }

  async #isFresh(): Promise<boolean> {
    const { isActualFresh, isDesiredFresh } = await this.options.store.freshness();
    return isActualFresh && isDesiredFresh;
  }

  async #known(droplets: { droplet: string; version: string }[]): Promise<AppState[]> {
    const questions = droplets.map(({ droplet, version }) => ({ app: droplet, version }));
    return (await this.options.store.getApps(questions)).filter((app) => app !== undefined);
  }

  async #allVersionsOf(droplet: string): Promise<AppState[]> {
    const found: AppState[] = [];
    await this.options.store.forEachApp((app) => {
      if (app.app === droplet && isKnown(app)) found.push(app);
    });
    return found;
  }

  #flappingIndices({ crashCounts }: AppState) {
    return [...crashCounts.values()]
      .filter(({ crashCount }) => crashCount >= this.options.flappingCrashCount)
      .map(({ index, createdAt }) => ({ index, since: createdAt }));
  }
}

function crashedInstances({ instances }: AppState) {
  return [...instances.values()]
    .filter(({ state }) => state === 'CRASHED')
    .map(({ instance, stateTimestamp }) => ({ instance, since: Math.floor(stateTimestamp) }));
}

function healthyIndices({ desired, instances }: AppState): number {
  const live = [...instances.values()].filter(isLive).map(({ index }) => index);
  return new Set(live.filter((index) => index < (desired?.instances ?? 0))).size;
}

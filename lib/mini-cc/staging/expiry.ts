import type { AppStore } from '../store/app-store.js';
import type { StagingOutcomes } from './outcomes.js';
import type { Stagers } from './stagers.js';

export interface StagingExpiryOptions {
  apps: AppStore;
  stagers: Stagers;
  outcomes: StagingOutcomes;
  /** Stagings that have not ended after so long are given up. */
  expirationMs: number;
  /** How often that is looked for. */
  checkMs: number;
  /** Milliseconds since 1970. */
  now: () => number;
}

/** Gives up stagings that take too long, whoever stages (docs/protocol/legacy-cc.md §5.2). */
export class StagingExpiry {
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly options: StagingExpiryOptions) {}

  start(): void {
    this.timer = setInterval(() => this.expire(), this.options.checkMs);
    this.timer.unref();
  }

  /** Idempotent. */
  stop(): void {
    clearInterval(this.timer);
  }

  private expire(): void {
    const { apps, stagers, outcomes, now, expirationMs } = this.options;
    for (const app of apps.listStaging()) {
      if (app.package_pending_since === null || Date.parse(app.package_pending_since) + expirationMs > now()) continue;
      outcomes.fail(app.guid, 'StagingTimeExpired', 'the staging did not end in time');
      stagers.of(app).cancel(app.guid, app.staging_task_id!);
    }
  }
}

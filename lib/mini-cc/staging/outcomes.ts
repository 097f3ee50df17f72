import type { Logger } from '../../logging/logger.js';
import type { App } from '../apps/app.js';
import type { AppStore } from '../store/app-store.js';
import { type BuildpackStore, buildpackKey } from '../store/buildpack-store.js';
import type { EventStore } from '../store/event-store.js';
import { type StagingFailure, withoutUserinfo } from './staging-reply.js';

export interface StagingOutcomesOptions {
  apps: AppStore;
  buildpacks: BuildpackStore;
  events: EventStore;
  logger: Logger;
}

/** What a stager found out about an app. */
export interface StagedFacts {
  buildpackKey: string | null | undefined;
  detectedBuildpack: string | null | undefined;
  startCommand: string | null | undefined;
  /** Diego's stagers tell it. */
  executionMetadata: string | null;
}

/** Keeps how stagings ended (docs/protocol/legacy-cc.md §5.2, §9.3). */
export class StagingOutcomes {
  constructor(private readonly options: StagingOutcomesOptions) {}

  /** @returns the app as it is then */
  succeed(appGuid: string, facts: StagedFacts): App {
    const { apps, buildpacks, logger } = this.options;
    const byKey = buildpacks.list().find((buildpack) => buildpackKey(buildpack) === facts.buildpackKey);
    const staged = apps.update(appGuid, {
      package_state: 'STAGED',
      package_pending_since: null,
      // One that has nothing to say leaves it empty.
      detected_buildpack: facts.detectedBuildpack || (byKey?.name ?? null),
      detected_start_command: facts.startCommand ?? null,
      execution_metadata: facts.executionMetadata,
    });
    logger.info('mini-cc.staging.finished', { app: appGuid, task: staged.staging_task_id });
    return staged;
  }

  /** An app that Diego was to stage is stopped as well, as a real Cloud Controller does. */
  fail(appGuid: string, reason: StagingFailure, text: string): void {
    const { apps, events, logger } = this.options;
    const description = withoutUserinfo(text);
    apps.update(appGuid, {
      package_state: 'FAILED',
      package_pending_since: null,
      staging_failed_reason: reason,
      staging_failed_description: description,
      ...(apps.get(appGuid).diego && { state: 'STOPPED' as const }),
    });
    events.add(appGuid, 'app.staging-failed', { reason, description });
    logger.warn('mini-cc.staging.failed', { app: appGuid, reason, description });
  }
}

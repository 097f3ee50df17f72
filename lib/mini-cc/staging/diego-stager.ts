import { randomUUID } from 'node:crypto';
import type { Credentials } from '../../http/url.js';
import { errorData, type Logger } from '../../logging/logger.js';
import type { App } from '../apps/app.js';
import { type DiegoContext, stagingRequest } from '../diego/app-messages.js';
import { splitGuid, stagingGuid } from '../diego/guids.js';
import { completionPath } from '../diego/messages.js';
import type { StagerClient } from '../diego/stager-client.js';
import { readCompletion } from '../diego/staging-completion.js';
import { ApiError } from '../errors.js';
import type { AppStore } from '../store/app-store.js';
import type { Urls } from '../urls.js';
import type { StagingIngredients } from './ingredients.js';
import type { StagingOutcomes } from './outcomes.js';
import type { AppStager } from './stagers.js';
import { stagingFailure } from './staging-reply.js';

export interface DiegoStagerOptions {
  apps: AppStore;
  client: StagerClient;
  ingredients: StagingIngredients;
  outcomes: StagingOutcomes;
  urls: Urls;
  context: DiegoContext;
  /** What bridges tell of the end with. */
  credentials: Credentials;
  logger: Logger;
  /** Milliseconds since 1970. */
  now: () => number;
  onStaged(app: App): Promise<void>;
}

/**
 * Has apps staged by Diego (docs/protocol/legacy-cc.md §9.1, §9.3). The bridge takes a request, and tells of the end by
 * another one, also to the next process; without that the app's staging expires.
 */
export class DiegoStager implements AppStager {
  /** Cancellations that are under way. */
  private readonly cancelling = new Set<Promise<void>>();

  constructor(private readonly options: DiegoStagerOptions) {}

  /** Waits for what is under way. */
  async stop(): Promise<void> {
    await Promise.all(this.cancelling);
  }

  /** @throws ApiError StagerUnavailable, StagerError; the app is FAILED then */
  async stage(app: App): Promise<null> {
    const { apps, client, ingredients, outcomes, urls, context, credentials, logger } = this.options;
    ingredients.check(app);
    const links = await ingredients.links(app);
    const before = apps.get(app.guid);
    if (before.package_state === 'PENDING' && before.staging_task_id !== null) {
      this.cancel(app.guid, before.staging_task_id);
    }
    const taskId = randomUUID();
    const pending = apps.update(app.guid, {
      package_state: 'PENDING',
      package_pending_since: new Date(this.options.now()).toISOString(),
      staging_task_id: taskId,
      staging_failed_reason: null,
      staging_failed_description: null,
    });
    const guid = stagingGuid(app.guid, taskId);
    const callback = urls.internal(completionPath(guid), credentials);
    logger.info('mini-cc.staging.start', { app: app.guid, task: taskId, stager: 'diego' });
    try {
      await client.stage(guid, stagingRequest(pending, links, callback, context));
    } catch (error) {
      if (this.isCurrent(app.guid, taskId)) outcomes.fail(app.guid, 'StagingError', (error as Error).message);
      throw error;
    }
    return null;
  }

  cancel(appGuid: string, taskId: string): void {
    const { client, logger } = this.options;
    const cancelled = client
      .stop(stagingGuid(appGuid, taskId))
      .catch((error) => logger.warn('mini-cc.staging.not-cancelled', { app: appGuid, ...errorData(error) }))
      .finally(() => this.cancelling.delete(cancelled));
    this.cancelling.add(cancelled);
  }

  /**
   * Takes the end of a staging. One of a staging that is over or was given up changes nothing.
   *
   * @throws ApiError NotFound without the app; StagingBackendInvalid when it is not on Diego; InvalidRequest for what is
   * no completion, and the staging has failed then
   */
  async takeCompletion(completedGuid: string, body: unknown): Promise<void> {
    const { apps, outcomes, logger, onStaged } = this.options;
    const { appGuid, rest: taskId } = splitGuid(completedGuid);
    const app = apps.find(appGuid);
    if (!app) throw new ApiError('NotFound');
    if (!app.diego) throw new ApiError('StagingBackendInvalid');
    const completion = readCompletion(body);
    const isCurrent = this.isCurrent(appGuid, taskId);
    if (completion.kind === 'malformed') {
      if (isCurrent) outcomes.fail(appGuid, 'StagingError', 'Malformed message from Diego stager');
      throw new ApiError('InvalidRequest', completion.problem);
    }
    if (!isCurrent) return logger.info('mini-cc.staging.reply-ignored', { app: appGuid, task: taskId });
    if (completion.kind === 'failed') return outcomes.fail(appGuid, stagingFailure(completion.id), completion.message);
    await onStaged(outcomes.succeed(appGuid, completion.staged));
  }

  private isCurrent(appGuid: string, taskId: string): boolean {
    const app = this.options.apps.find(appGuid);
    return app?.package_state === 'PENDING' && app.staging_task_id === taskId;
  }
}

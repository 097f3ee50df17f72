import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Bus } from '../../bus/bus.js';
import { errorData, type Logger } from '../../logging/logger.js';
import { type MessageContext, stagingMessage } from '../agents/app-messages.js';
import type { DeaHttp } from '../agents/dea-http.js';
import type { App } from '../apps/app.js';
import { ApiError } from '../errors.js';
import { type StagingMessage, type StagingReply, stagingReplySchema, subjects } from '../messages.js';
import type { Cells } from '../placement/cells.js';
import type { AppStore } from '../store/app-store.js';
import type { StagingIngredients } from './ingredients.js';
import type { StagingOutcomes } from './outcomes.js';
import type { AppStager } from './stagers.js';
import { readStagingReply, stagingApiError } from './staging-reply.js';

export interface StagerOptions {
  bus: Bus;
  cells: Cells;
  apps: AppStore;
  ingredients: StagingIngredients;
  outcomes: StagingOutcomes;
  context: MessageContext;
  /** For stagers that take messages over HTTPS; without it all of them are spoken to on the bus. */
  http: DeaHttp | undefined;
  /** For each of the two replies. */
  replyTimeoutMs: number;
  logger: Logger;
  /** Milliseconds since 1970. */
  now: () => number;
  /** The app is STAGED. `startsFirst` tells that the stager starts the first instance itself. */
  onStaged(app: App, startsFirst: boolean): Promise<void>;
}

interface Conversation {
  abort: AbortController;
  done: Promise<void>;
}

/** So many stagers may refuse a staging before it is given up (docs/protocol/legacy-cc.md §10). */
const stagingAttempts = 3;

/**
 * Has apps staged by cells of the DEA kind (docs/protocol/legacy-cc.md §5, §10).
 *
 *            stage()               first reply good           second reply good
 *   PENDING ---------> PENDING + task id ---------> (same) --------------------> STAGED
 *                         |                           |
 *                         +--- error, no answer ------+--- error, no answer, expired ---> FAILED
 *
 * Only the replies to the app's current task id count. A conversation on the bus lives in this process: at a start,
 * those that a former process had are given up, because their replies are lost. A stager that was asked over HTTPS
 * sends no first reply, and its second one comes as a request, also to the next process.
 */
export class Stager implements AppStager {
  private readonly conversations = new Map<string, Conversation>();

  constructor(private readonly options: StagerOptions) {}

  start(): void {
    for (const app of this.options.apps.listStaging().filter(({ diego }) => !diego)) {
      if (this.options.http) {
        this.awaitCompletion(app.guid, app.staging_task_id!);
        continue;
      }
      this.options.bus.publish(subjects.stagingStop, { app_id: app.guid });
      this.options.outcomes.fail(
        app.guid,
        'StagingError',
        'the Cloud Controller was restarted meanwhile; restage the app',
      );
    }
  }

  async stop(): Promise<void> {
    const conversations = [...this.conversations.values()];
    for (const { abort } of conversations) abort.abort();
    await Promise.all(conversations.map(({ done }) => done));
  }

  /**
   * Begins a staging and waits for the stager's first reply; the second one is waited for in the background.
   *
   * @returns URL of the growing staging log; null when the stager gave none
   * @throws ApiError when no stager is found or the first reply tells of a failure
   */
  async stage(app: App): Promise<string | null> {
    const { apps, bus, cells, http, ingredients, now, logger } = this.options;
    ingredients.check(app);
    const links = await ingredients.links(app);
    // From here to the request nothing is waited for: what is stored and what is sent belong together.
    const first = cells.placeStaging(app);
    const taskId = randomBytes(16).toString('hex');
    const pending = apps.update(app.guid, {
      package_state: 'PENDING',
      package_pending_since: new Date(now()).toISOString(),
      staging_task_id: taskId,
      staging_failed_reason: null,
      staging_failed_description: null,
    });
    this.conversations.get(app.guid)?.abort.abort();
    bus.publish(subjects.stagingStop, { app_id: app.guid });
    const message = stagingMessage(pending, taskId, links, this.options.context);
    for (let stagerId = first, attempt = 1; ; stagerId = this.placeAgain(pending), attempt += 1) {
      logger.info('mini-cc.staging.start', { app: app.guid, task: taskId, stager: stagerId });
      const url = http && cells.addressOf(stagerId);
      if (!url) return this.converse(pending, taskId, stagerId, message);
      const answer = await http.stage(url, { ...message, accepts_http: true });
      if (apps.find(app.guid)?.staging_task_id !== taskId) throw new ApiError('StagingError', 'it was cancelled');
      if (answer === 'not-found') return this.converse(pending, taskId, stagerId, message);
      if (answer === 'accepted') {
        this.awaitCompletion(app.guid, taskId);
        return null;
      }
      if (answer === 'unavailable') cells.withdraw(stagerId);
      if (answer === 'failed' || attempt === stagingAttempts) this.refuse(app.guid, `stager ${stagerId} takes nothing`);
    }
  }

  /**
   * Takes the second reply of a staging that was asked for over HTTPS.
   * @throws ApiError AppNotFound; InvalidRequest when it is not that of the app's current staging
   */
  async takeCompletion(appGuid: string, completion: unknown): Promise<void> {
    const app = this.options.apps.get(appGuid);
    const taskId = stagingReplySchema.safeParse(completion).data?.task_id;
    if (app.package_state !== 'PENDING' || app.staging_task_id === null || app.staging_task_id !== taskId) {
      throw new ApiError('InvalidRequest', 'task_id is not that of the current staging');
    }
    this.conversations.get(appGuid)?.abort.abort();
    await this.conclude(appGuid, taskId, completion);
  }

  /** Ends the app's staging, if there is one; its replies count no more. */
  cancel(appGuid: string): void {
    this.options.bus.publish(subjects.stagingStop, { app_id: appGuid });
    this.conversations.get(appGuid)?.abort.abort();
  }

  /** A stager for a staging that the one before refused; without one it has failed. */
  private placeAgain(app: App): string {
    try {
      return this.options.cells.placeStaging(app);
    } catch (error) {
      return this.refuse(app.guid, (error as Error).message);
    }
  }

  private refuse(appGuid: string, description: string): never {
    this.options.outcomes.fail(appGuid, 'StagingError', description);
    throw new ApiError('StagingError', description);
  }

  /** Gives a staging up whose completion does not come in time. */
  private awaitCompletion(appGuid: string, taskId: string): void {
    const abort = new AbortController();
    const { signal } = abort;
    const done = delay(this.options.replyTimeoutMs, undefined, { signal, ref: false })
      .then(() => this.conclude(appGuid, taskId, undefined))
      .catch(() => {}) // It came, or the process ends.
      .finally(() => this.forget(appGuid, abort));
    this.conversations.set(appGuid, { abort, done });
  }

  private forget(appGuid: string, abort: AbortController): void {
    if (this.conversations.get(appGuid)?.abort === abort) this.conversations.delete(appGuid);
  }

  private async converse(app: App, taskId: string, stagerId: string, message: StagingMessage): Promise<string | null> {
    const { bus, replyTimeoutMs } = this.options;
    const abort = new AbortController();
    const stream = bus.requestStream(subjects.stagingStart(stagerId), message, {
      timeoutMs: replyTimeoutMs,
      signal: abort.signal,
    });
    const replies = stream[Symbol.asyncIterator]();
    const close = async () => void (await replies.return?.());
    const firstReply = this.takeFirst(app.guid, taskId, replies, abort.signal);
    const done = firstReply
      .then(() => this.takeSecond(app.guid, taskId, replies, abort.signal))
      .catch(() => {}) // A failed first reply is told to the caller, below.
      .finally(close)
      .finally(() => this.forget(app.guid, abort));
    this.conversations.set(app.guid, { abort, done });
    return firstReply;
  }

  private async takeFirst(
    appGuid: string,
    taskId: string,
    replies: AsyncIterator<unknown>,
    signal: AbortSignal,
  ): Promise<string | null> {
    const { value } = await replies.next();
    if (signal.aborted) throw new ApiError('StagingError', 'the staging was cancelled');
    const verdict = readStagingReply(this.options.apps.find(appGuid), taskId, value);
    switch (verdict.kind) {
      case 'good':
        return verdict.reply.task_streaming_log_url ?? null;
      case 'superseded':
        throw new ApiError('StagingError', 'another staging request was initiated');
      case 'already-failed':
        throw new ApiError(
          'StagingError',
          'staging had already been marked as failed, this could mean that staging took too long',
        );
      case 'failed':
        this.options.outcomes.fail(appGuid, verdict.reason, verdict.description);
        throw stagingApiError(verdict.reason, verdict.description);
    }
  }

  private async takeSecond(
    appGuid: string,
    taskId: string,
    replies: AsyncIterator<unknown>,
    signal: AbortSignal,
  ): Promise<void> {
    const { value } = await replies.next();
    // A process that ends tells nothing of the staging: its next start does.
    if (!signal.aborted) await this.conclude(appGuid, taskId, value);
  }

  /** Reads a second reply, undefined when none came in time. Never rejects. */
  private async conclude(appGuid: string, taskId: string, value: unknown): Promise<void> {
    const { apps, logger } = this.options;
    try {
      const verdict = readStagingReply(apps.find(appGuid), taskId, value);
      if (verdict.kind === 'good') await this.complete(appGuid, verdict.reply);
      else if (verdict.kind === 'failed') this.options.outcomes.fail(appGuid, verdict.reason, verdict.description);
      else logger.info('mini-cc.staging.reply-ignored', { app: appGuid, task: taskId, reason: verdict.kind });
    } catch (error) {
      logger.error('mini-cc.staging.completion-failed', { app: appGuid, task: taskId, ...errorData(error) });
    }
  }

  private async complete(appGuid: string, reply: StagingReply): Promise<void> {
    const staged = this.options.outcomes.succeed(appGuid, {
      buildpackKey: reply.buildpack_key,
      detectedBuildpack: reply.detected_buildpack,
      startCommand: reply.detected_start_command,
      executionMetadata: null,
    });
    await this.options.onStaged(staged, Boolean(reply.droplet_sha1));
  }
}

import { randomBytes } from 'node:crypto';
import type { Bus } from '../../bus/bus.js';
import { errorData, type Logger } from '../../logging/logger.js';
import { type MessageContext, type StagingLinks, stagingMessage } from '../agents/app-messages.js';
import type { App } from '../apps/app.js';
import type { Blobstore } from '../blobs/blobstore.js';
import { blobNames } from '../blobs/names.js';
import { ApiError } from '../errors.js';
import { type StagingReply, subjects } from '../messages.js';
import type { Cells } from '../placement/cells.js';
import type { AppStore } from '../store/app-store.js';
import { type BuildpackStore, buildpackKey } from '../store/buildpack-store.js';
import type { EventStore } from '../store/event-store.js';
import type { Urls } from '../urls.js';
import { readStagingReply, type StagingFailure, stagingApiError } from './staging-reply.js';

export interface StagerOptions {
  bus: Bus;
  cells: Cells;
  apps: AppStore;
  buildpacks: BuildpackStore;
  events: EventStore;
  blobs: Blobstore;
  urls: Urls;
  context: MessageContext;
  /** For each of the two replies. */
  replyTimeoutMs: number;
  /** Stagings that have not ended after so long are given up. */
  expirationMs: number;
  /** How often that is looked for. */
  expirationCheckMs: number;
  disableCustomBuildpacks: boolean;
  logger: Logger;
  /** Milliseconds since 1970. */
  now: () => number;
  /** The app is STAGED. `startsFirst` tells that the stager starts the first instance itself. */
  onStaged(app: App, startsFirst: boolean): void;
}

interface Conversation {
  abort: AbortController;
  done: Promise<void>;
}

/**
 * Has apps staged by cells (docs/protocol/legacy-cc.md §5).
 *
 *            stage()               first reply good           second reply good
 *   PENDING ---------> PENDING + task id ---------> (same) --------------------> STAGED
 *                         |                           |
 *                         +--- error, no answer ------+--- error, no answer, expired ---> FAILED
 *
 * Only the replies to the app's current task id count. The conversation lives in this process: at a start, those that a
 * former process had are given up, because their replies are lost.
 */
export class Stager {
  private readonly conversations = new Map<string, Conversation>();
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly options: StagerOptions) {}

  start(): void {
    for (const app of this.options.apps.listStaging()) {
      this.options.bus.publish(subjects.stagingStop, { app_id: app.guid });
      this.fail(app.guid, 'StagingError', 'the Cloud Controller was restarted meanwhile; restage the app');
    }
    this.timer = setInterval(() => this.expire(), this.options.expirationCheckMs);
    this.timer.unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.timer);
    const conversations = [...this.conversations.values()];
    for (const { abort } of conversations) abort.abort();
    await Promise.all(conversations.map(({ done }) => done));
  }

  /**
   * Refuses an app that cannot be staged, before anything is changed for it.
   * @throws ApiError AppPackageInvalid, NoBuildpacksFound, AppInvalid
   */
  check(app: App): void {
    const { buildpacks, disableCustomBuildpacks } = this.options;
    if (app.package_hash === null) throw new ApiError('AppPackageInvalid', 'bits have not been uploaded');
    const usable = buildpacks.listUsable();
    const isCustom = app.buildpack !== null && !usable.some(({ name }) => name === app.buildpack);
    if (isCustom && disableCustomBuildpacks) throw new ApiError('AppInvalid', 'custom buildpacks are disabled');
    if (isCustom && !isGitUrl(app.buildpack!)) {
      throw new ApiError('AppInvalid', `buildpack ${app.buildpack} is not valid public url or a known buildpack name`);
    }
    if (!isCustom && usable.length === 0) throw new ApiError('NoBuildpacksFound');
  }

  /**
   * Begins a staging and waits for the stager's first reply; the second one is waited for in the background.
   *
   * @returns URL of the growing staging log; null when the stager gave none
   * @throws ApiError when no stager is found or the first reply tells of a failure
   */
  async stage(app: App): Promise<string | null> {
    const { apps, bus, cells, now, logger } = this.options;
    this.check(app);
    const links = await this.links(app);
    // From here to the request nothing is waited for: what is stored and what is sent belong together.
    const stagerId = cells.placeStaging(app);
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
    logger.info('mini-cc.staging.start', { app: app.guid, task: taskId, stager: stagerId });
    return this.converse(pending, taskId, stagerId, stagingMessage(pending, taskId, links, this.options.context));
  }

  /** Ends the app's staging, if there is one; its replies count no more. */
  cancel(appGuid: string): void {
    this.options.bus.publish(subjects.stagingStop, { app_id: appGuid });
    this.conversations.get(appGuid)?.abort.abort();
  }

  /** The admin buildpacks as stagers get them. */
  buildpackLinks(): StagingLinks['buildpacks'] {
    const { buildpacks, urls } = this.options;
    return buildpacks.listUsable().map((buildpack) => ({
      name: buildpack.name,
      key: buildpackKey(buildpack),
      url: urls.buildpackDownload(buildpack.guid),
    }));
  }

  private async links(app: App): Promise<StagingLinks> {
    const { blobs, urls } = this.options;
    const hasCache = (await blobs.find(blobNames.buildpackCache(app.guid))) !== undefined;
    return {
      package: urls.package(app.guid),
      dropletUpload: urls.dropletUpload(app.guid),
      cacheDownload: hasCache ? urls.buildpackCacheDownload(app.guid) : null,
      cacheUpload: urls.buildpackCacheUpload(app.guid),
      buildpacks: this.buildpackLinks(),
    };
  }

  private async converse(app: App, taskId: string, stagerId: string, message: unknown): Promise<string | null> {
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
      .finally(() => {
        if (this.conversations.get(app.guid)?.abort === abort) this.conversations.delete(app.guid);
      });
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
        this.fail(appGuid, verdict.reason, verdict.description);
        throw stagingApiError(verdict.reason, verdict.description);
    }
  }

  private async takeSecond(
    appGuid: string,
    taskId: string,
    replies: AsyncIterator<unknown>,
    signal: AbortSignal,
  ): Promise<void> {
    const { apps, logger } = this.options;
    try {
      const { value } = await replies.next();
      // A process that ends tells nothing of the staging: its next start does.
      if (signal.aborted) return;
      const verdict = readStagingReply(apps.find(appGuid), taskId, value);
      if (verdict.kind === 'good') this.complete(appGuid, verdict.reply);
      else if (verdict.kind === 'failed') this.fail(appGuid, verdict.reason, verdict.description);
      else logger.info('mini-cc.staging.reply-ignored', { app: appGuid, task: taskId, reason: verdict.kind });
    } catch (error) {
      logger.error('mini-cc.staging.completion-failed', { app: appGuid, task: taskId, ...errorData(error) });
    }
  }

  private complete(appGuid: string, reply: StagingReply): void {
    const { apps, buildpacks, logger, onStaged } = this.options;
    const byKey = buildpacks.list().find((buildpack) => buildpackKey(buildpack) === reply.buildpack_key);
    const staged = apps.update(appGuid, {
      package_state: 'STAGED',
      package_pending_since: null,
      detected_buildpack: reply.detected_buildpack ?? byKey?.name ?? null,
      detected_start_command: reply.detected_start_command ?? null,
    });
    logger.info('mini-cc.staging.finished', { app: appGuid, task: staged.staging_task_id });
    onStaged(staged, Boolean(reply.droplet_sha1));
  }

  private fail(appGuid: string, reason: StagingFailure, description: string): void {
    const { apps, events, logger } = this.options;
    apps.update(appGuid, {
      package_state: 'FAILED',
      package_pending_since: null,
      staging_failed_reason: reason,
      staging_failed_description: description,
    });
    events.add(appGuid, 'app.staging-failed', { reason, description });
    logger.warn('mini-cc.staging.failed', { app: appGuid, reason, description });
  }

  private expire(): void {
    const { apps, now, expirationMs } = this.options;
    for (const app of apps.listStaging()) {
      if (app.package_pending_since === null || Date.parse(app.package_pending_since) + expirationMs > now()) continue;
      this.fail(app.guid, 'StagingTimeExpired', 'the staging did not end in time');
      this.cancel(app.guid);
    }
  }
}

function isGitUrl(text: string): boolean {
  return /^(https?|git|ssh|file):\/\/\S+$/.test(text) || /^[\w.-]+@[\w.-]+:\S+$/.test(text);
}

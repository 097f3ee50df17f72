import { createHash } from 'node:crypto';
import type { Resources } from '../../cell/ledger.js';
import { UnknownHandleError } from '../../containers/errors.js';
import { downloadToFile } from '../../http/download.js';
import { UploadError, uploadBlob } from '../../http/upload.js';
import { errorData, type Logger } from '../../logging/logger.js';
import { redactText } from '../../logging/redaction.js';
import { ScriptError } from '../containers.js';
import { type StagingMessage, type StagingResult, syslogDrainUrls } from '../messages.js';
import { StagingContainer, stagingProcessId } from './staging-container.js';
import type { StagingContext, StagingReplies } from './staging-context.js';
import { StagingOutOfMemoryError, StagingStoppedError, stagingErrorText } from './staging-errors.js';
import { buildpackKey, parseStagingInfo, type StagingInfo } from './staging-info.js';
import { pluginConfig } from './staging-script.js';
import { Workspace } from './workspace.js';

const mebibyte = 1024 * 1024;
/** Longer than any id that a Cloud Controller gives. */
const longestReadableId = 64;

/**
 * Turns an app package into a droplet (docs/protocol/dea.md §17): the story of its steps, its answers and its end.
 *
 *     setUp  ------------> build ------------> deliver ----> answer -> cleanUp
 *     workspace, container, unpack, run,       upload droplet  #2        container, workspace,
 *     downloads, reply #1   pack, copy out     and cache       or 2'     reservation
 *        |                    |                   |             ^
 *        +--------------------+----- error, stop -+-------------+
 *
 * A stop aborts between and within the steps; it ends with 2' alone.
 */
export class StagingTask {
  private readonly abort = new AbortController();
  private readonly logger: Logger;
  private running: Promise<void> | undefined;
  private workspace: Workspace | undefined;
  /** A container may exist under the task's handle. */
  private mayHaveContainer = false;
  private container: StagingContainer | undefined;
  private hasStartedProcess = false;
  private dropletSha1: string | null = null;
  private stagingInfo: StagingInfo = parseStagingInfo(undefined);
  private error: unknown;

  constructor(
    readonly message: StagingMessage,
    private readonly replies: StagingReplies,
    private readonly context: StagingContext,
  ) {
    this.logger = context.logger.child({ app_guid: message.app_id, task_id: message.task_id }, 'Dea::StagingTask');
  }

  get id(): string {
    return this.message.task_id;
  }

  get reservationId(): string {
    return `staging-${this.message.task_id}`;
  }

  /** Memory and disk of the reservation and of the container alike (docs/protocol/dea.md §17.2). */
  get size(): Resources {
    const { staging } = this.context.config;
    const { memory_limit: memory, disk_limit: disk } = this.message;
    return {
      memoryMb: Math.ceil(Math.max(staging.memory_limit_mb, memory ?? this.startLimit('mem') ?? 0)),
      diskMb: Math.ceil(Math.max(staging.disk_limit_mb, disk ?? this.startLimit('disk') ?? 0)),
    };
  }

  /** Handle of the task's container: tells stagings from apps at a glance. */
  get handle(): string {
    const isHandle = /^[A-Za-z0-9_+.-]+$/.test(this.id) && this.id.length <= longestReadableId;
    return `staging-${isHandle ? this.id : createHash('sha1').update(this.id).digest('hex')}`;
  }

  get adminBuildpackKeys(): string[] {
    return this.message.admin_buildpacks.map(({ key }) => key);
  }

  /** Host directory that is the container's root; undefined while there is no container. */
  get rootDirectory(): string | undefined {
    return this.container?.paths.rootDirectory;
  }

  /** Whether the task ended well; meaningful after `run`. */
  get succeeded(): boolean {
    return this.error === undefined;
  }

  get droplet(): string | null {
    return this.dropletSha1;
  }

  get isStopped(): boolean {
    return this.abort.signal.aborted;
  }

  snapshotRecord(): Record<string, unknown> {
    return {
      staging_message: this.message,
      warden_handle: this.container ? this.handle : null,
      warden_container_path: this.container?.containerPath ?? null,
      warden_job_id: this.hasStartedProcess ? Number(stagingProcessId) : null,
      syslog_drain_urls: syslogDrainUrls(this.message.properties.services),
    };
  }

  /** Runs the task to its end and gives all answers; never rejects. Everything it used is released then. */
  run(): Promise<void> {
    this.running ??= this.runToEnd();
    return this.running;
  }

  /** Stops the task; resolves when it has ended. */
  async stop(): Promise<void> {
    this.abort.abort(new StagingStoppedError());
    await this.container?.stop().catch((error: unknown) => this.logger.warn('staging.stop.failed', errorData(error)));
    await this.running;
  }

  private async runToEnd(): Promise<void> {
    try {
      const container = await this.setUp();
      await this.build(container);
      await this.deliver(container);
    } catch (error) {
      this.error = error;
      this.logger.warn(this.failureTopic(error), errorData(error));
      this.tellFailure(error);
    }
    if (this.succeeded) this.logger.info('staging.task.completed');
    this.answer();
    await this.cleanUp().catch((error: unknown) => this.logger.error('staging.clean-up.failed', errorData(error)));
  }

  private failureTopic(error: unknown): string {
    if (this.isStopped) return 'staging.task.stopped';
    return error instanceof UploadError ? 'staging.task.upload-failed' : 'staging.task.failed';
  }

  /** What a buildpack printed says more than that it failed. */
  private tellFailure(error: unknown): void {
    if (this.isStopped) return;
    if (error instanceof StagingOutOfMemoryError) {
      this.context.appLog.stagingFailed(this.message.app_id, `out of memory (limit: ${this.size.memoryMb} MB)`);
      return;
    }
    if (error instanceof ScriptError && this.hasStartedProcess) return;
    this.context.appLog.stagingFailed(this.message.app_id, redactText(stagingErrorText(error)));
  }

  private answer(): void {
    if (this.isStopped) this.replies.stopped();
    else this.replies.completed(this.result());
  }

  /** Steps 1 to 5: everything that the Cloud Controller waits for before it answers its user. */
  private async setUp(): Promise<StagingContainer> {
    const logUrl = this.context.logUrl(this.id);
    try {
      const workspace = await this.createWorkspace();
      const buildpackDirectories = await this.fetchBuildpacks();
      const container = await this.createContainer(workspace);
      await workspace.writePluginConfig(pluginConfig(container.paths, this.message.properties, buildpackDirectories));
      await this.download(workspace);
      await container.prepare();
      this.abort.signal.throwIfAborted();
      this.replies.setUp(null, logUrl);
      return container;
    } catch (error) {
      if (!this.isStopped) this.replies.setUp(stagingErrorText(error), logUrl);
      throw error;
    }
  }

  private async createWorkspace(): Promise<Workspace> {
    this.workspace = await Workspace.create(this.context.stagingDirectory);
    return this.workspace;
  }

  private async fetchBuildpacks(): Promise<string[]> {
    const { buildpacks, buildpackKeysInUse } = this.context;
    const directories = await buildpacks.ensure(this.message.admin_buildpacks, this.abort.signal);
    this.logger.info('buildpacks-downloaded.success', { count: directories.length });
    await buildpacks.prune(buildpackKeysInUse());
    return directories;
  }

  private async createContainer(workspace: Workspace): Promise<StagingContainer> {
    const { context, handle, logger, message } = this;
    const { signal } = this.abort;
    this.mayHaveContainer = true;
    this.container = await StagingContainer.create(
      { stack: message.stack ?? null, egressRules: message.egress_network_rules, ...this.size },
      { context, handle, appId: message.app_id, workspace, signal, logger },
    );
    this.context.onChange();
    return this.container;
  }

  private async download(workspace: Workspace): Promise<void> {
    const { download_uri: packageUrl, buildpack_cache_download_uri: cacheUrl } = this.message;
    const [app] = await Promise.allSettled([
      this.downloadTo(workspace.packageFile, packageUrl),
      cacheUrl
        ? this.downloadTo(workspace.cacheFile, cacheUrl).catch((error: unknown) =>
            this.logger.warn('staging.buildpacks-cache-download.failed', errorData(error)),
          )
        : Promise.resolve(),
    ]);
    if (app.status === 'rejected') throw app.reason;
  }

  private async downloadTo(path: string, url: string): Promise<void> {
    // What is larger could not be unpacked: it must not fill the host's disk either.
    const maxBytes = this.size.diskMb * mebibyte;
    const { logger, transferTimeoutMs: timeoutMs } = this;
    await downloadToFile({ url, path, mode: 0o744, maxBytes, timeoutMs, signal: this.abort.signal, logger });
  }

  /** Steps 6 to 11: from the package to a droplet on the host. */
  private async build(container: StagingContainer): Promise<void> {
    try {
      await container.unpackPackage();
      await container.unpackCache();
      const memoryMb = this.message.memory_limit ?? this.startLimit('mem') ?? this.size.memoryMb;
      await container.build({ message: this.message, memoryMb }, () => {
        this.hasStartedProcess = true;
        this.context.onChange();
      });
      this.dropletSha1 = await container.packDroplet();
      await this.context.droplets.add(this.workspace!.dropletFile, this.dropletSha1);
    } finally {
      this.stagingInfo = parseStagingInfo(await container.readInfo());
    }
  }

  /** Steps 12 to 14: the droplet must arrive; the cache only makes the next staging faster. */
  private async deliver(container: StagingContainer): Promise<void> {
    const { dropletFile, packedCacheFile } = this.workspace!;
    const { upload_uri: dropletUrl, buildpack_cache_upload_uri: cacheUrl } = this.message;
    await container.announceUpload();
    await this.upload(dropletUrl, dropletFile, 'droplet.tgz');
    if (!cacheUrl) return;
    try {
      await container.packCache();
      await this.upload(cacheUrl, packedCacheFile, 'buildpack_cache.tgz');
    } catch (error) {
      this.abort.signal.throwIfAborted();
      if (this.context.config.staging.fail_on_cache_upload_error) throw error;
      this.logger.warn('staging.buildpack-cache.upload.failed', errorData(error));
      const warning = '-----> Warning: the buildpack cache could not be stored for the next time';
      await container.say(warning).catch(() => {});
    }
  }

  private async upload(url: string, file: string, filename: string): Promise<void> {
    const { logger, transferTimeoutMs: timeoutMs } = this;
    await uploadBlob({ url, file, filename, timeoutMs, signal: this.abort.signal, logger });
  }

  private async cleanUp(): Promise<void> {
    const { engine, ledger } = this.context;
    try {
      if (this.mayHaveContainer) await engine.destroy(this.handle);
    } catch (error) {
      if (!(error instanceof UnknownHandleError)) throw error;
    } finally {
      this.container = undefined;
      await this.workspace?.remove();
      await ledger.release(this.reservationId);
    }
  }

  /** A transfer that takes longer than a build may is not one that is going to end. */
  private get transferTimeoutMs(): number {
    return this.context.config.staging.max_staging_duration * 1000;
  }

  private startLimit(name: 'mem' | 'disk'): number | undefined {
    const limits = this.message.start_message?.limits as Record<string, unknown> | null | undefined;
    const limit = limits?.[name];
    return typeof limit === 'number' ? limit : undefined;
  }

  private result(): StagingResult {
    const info = this.stagingInfo;
    const { adminBuildpacksDirectory } = this.context;
    return {
      task_id: this.id,
      detected_buildpack: info.detected_buildpack ?? null,
      buildpack_key: buildpackKey(info, adminBuildpacksDirectory, this.message.properties.buildpack_key),
      droplet_sha1: this.dropletSha1,
      detected_start_command: info.start_command ?? null,
      procfile: info.effective_procfile ?? null,
      app_id: this.message.app_id,
      ...(this.error !== undefined && { error: stagingErrorText(this.error) }),
      ...(this.error !== undefined && info.staging_error && { error_info: info.staging_error }),
    };
  }
}

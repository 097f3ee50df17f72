import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { dump as toYaml } from 'js-yaml';
import type { BuildpackCache } from '../../cell/buildpack-cache.js';
import type { DropletCache } from '../../cell/droplet-cache.js';
import type { Ledger, Resources } from '../../cell/ledger.js';
import type { Container, ContainerEngine } from '../../containers/engine.js';
import { UnknownHandleError } from '../../containers/errors.js';
import { DownloadError, downloadToFile } from '../../http/download.js';
import { UploadError, uploadBlob } from '../../http/upload.js';
import { errorData, type Logger } from '../../logging/logger.js';
import { runCommand } from '../../process/command.js';
import type { DeaConfig } from '../config.js';
import {
  appUser,
  ContainerPaths,
  configuredBindMounts,
  copyFileOut,
  deaOwner,
  kindProperty,
  ownerProperty,
  readContainerFile,
  runScript,
  ScriptError,
  stackRootfs,
} from '../containers.js';
import { InvalidEgressRuleError, netOutRules } from '../egress-rules.js';
import { stagingExports } from '../instances/environment.js';
import { stagingLimits } from '../instances/limits.js';
import { type StagingMessage, type StagingResult, syslogDrainUrls } from '../messages.js';
import { shellWord } from '../shell.js';
import { buildpackKey, parseStagingInfo, type StagingInfo } from './staging-info.js';

/** What a staging task works with; shared by all tasks of the agent. */
export interface StagingContext {
  config: DeaConfig;
  engine: ContainerEngine;
  ledger: Ledger;
  droplets: DropletCache;
  buildpacks: BuildpackCache;
  /** Directory that workspaces are made in. */
  stagingDirectory: string;
  /** Directory of the unpacked admin buildpacks. */
  adminBuildpacksDirectory: string;
  /** Host directory of the builder with its own Node.js. */
  builderDirectory: string;
  logger: Logger;
  /** Keys of the admin buildpacks that running tasks were given. */
  buildpackKeysInUse(): string[];
  /** Signed URL of the task's log, which grows while it runs. */
  logUrl(taskId: string): string;
  /** The task's process was started: time for a snapshot. */
  onChange(): void;
}

/** Where the answers to a staging message go. */
export interface StagingReplies {
  /** Set-up is done, or failed with `error`. */
  setUp(error: string | null, logUrl: string): void;
  completed(result: StagingResult): void;
  stopped(): void;
}

/** Paths in the container (docs/protocol/dea.md §17.3). */
export const stagingLogPath = '/tmp/staged/logs/staging_task.log';
const builderMount = '/tmp/lifecycle';
const stagingProcessId = '1';

class StagingStoppedError extends Error {
  constructor() {
    super('task stopped');
  }
}

class StagingTimeoutError extends Error {
  constructor() {
    super('Staging in container timed out');
  }
}

/**
 * Turns an app package into a droplet (docs/protocol/dea.md §17): workspace, container, downloads, first reply, build,
 * pack, upload, second reply, clean-up. Steps run in order; a stop aborts between and within them.
 */
export class StagingTask {
  private readonly abort = new AbortController();
  private readonly logger: Logger;
  private running: Promise<void> | undefined;
  private workspace: string | undefined;
  private buildpackDirectories: string[] = [];
  private container: Container | undefined;
  private paths: ContainerPaths | undefined;
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
    const limits = (this.message.start_message?.limits ?? {}) as { mem?: unknown; disk?: unknown };
    const wanted = (given: number | null | undefined, fallback: unknown) =>
      given ?? (typeof fallback === 'number' ? fallback : 0);
    return {
      memoryMb: Math.max(staging.memory_limit_mb, wanted(this.message.memory_limit, limits.mem)),
      diskMb: Math.max(staging.disk_limit_mb, wanted(this.message.disk_limit, limits.disk)),
    };
  }

  /** Handle of the task's container: tells stagings from apps at a glance. */
  get handle(): string {
    return `staging-${this.id.replaceAll(/[^A-Za-z0-9_+.-]/g, '_')}`;
  }

  get adminBuildpackKeys(): string[] {
    return this.message.admin_buildpacks.map(({ key }) => key);
  }

  /** Host directory that is the container's root; undefined while there is no container. */
  get rootDirectory(): string | undefined {
    return this.paths?.rootDirectory;
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
      warden_handle: this.container?.handle ?? null,
      warden_container_path: this.paths ? join(this.paths.rootDirectory, '..') : null,
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
      await this.setUp();
      await this.build();
      await this.deliver();
    } catch (error) {
      this.error = error;
      this.logger.warn('staging.task.failed', errorData(error));
    }
    this.answer();
    await this.cleanUp().catch((error: unknown) => this.logger.error('staging.clean-up.failed', errorData(error)));
  }

  private answer(): void {
    if (this.isStopped) this.replies.stopped();
    else this.replies.completed(this.result());
  }

  /** Steps 1 to 5: everything that the Cloud Controller waits for before it answers its user. */
  private async setUp(): Promise<void> {
    try {
      await this.createWorkspace();
      await this.createContainer();
      await this.download();
      await this.prepareContainer();
    } catch (error) {
      if (!this.isStopped) this.replies.setUp(this.errorText(error), this.logUrl());
      throw error;
    }
    this.abort.signal.throwIfAborted();
    this.replies.setUp(null, this.logUrl());
  }

  private async createWorkspace(): Promise<void> {
    const { stagingDirectory, buildpacks, buildpackKeysInUse } = this.context;
    this.workspace = await mkdtemp(join(stagingDirectory, 'task-'));
    // Read by the app's user in the container.
    await chmod(this.workspace, 0o755);
    await mkdir(join(this.workspace, 'staged'), { mode: 0o755 });
    this.buildpackDirectories = await buildpacks.ensure(this.message.admin_buildpacks, this.abort.signal);
    await buildpacks.prune(buildpackKeysInUse());
  }

  private async createContainer(): Promise<void> {
    const { engine, config, adminBuildpacksDirectory, builderDirectory } = this.context;
    const workspace = this.workspace!;
    const rootfs = stackRootfs(config.stacks, this.message.stack ?? null);
    const netOut = netOutRules(this.message.egress_network_rules);
    this.abort.signal.throwIfAborted();
    const container = await engine.create({
      handle: this.handle,
      rootfs,
      properties: { [ownerProperty]: deaOwner, [kindProperty]: 'staging' },
      bindMounts: [
        { source: workspace, destination: workspace, mode: 'ro' },
        { source: adminBuildpacksDirectory, destination: adminBuildpacksDirectory, mode: 'ro' },
        { source: builderDirectory, destination: builderMount, mode: 'ro' },
        ...configuredBindMounts(config),
      ],
      limits: stagingLimits(this.size, config.staging),
      netOut,
    });
    this.container = container;
    const { containerPath } = await container.info();
    this.paths = new ContainerPaths(engine, join(containerPath, 'rootfs'));
    await this.writePluginConfig();
    this.context.onChange();
  }

  private async writePluginConfig(): Promise<void> {
    const inside = (path: string) => this.paths!.inside(path);
    const pluginConfig = {
      source_dir: inside('/tmp/unstaged'),
      dest_dir: inside('/tmp/staged'),
      cache_dir: inside('/tmp/cache'),
      environment: this.message.properties,
      staging_info_path: inside('/tmp/staged/staging_info.yml'),
      buildpack_dirs: this.buildpackDirectories,
      buildpacks_dir: inside('/tmp/buildpacks'),
    };
    await writeFile(join(this.workspace!, 'plugin_config'), toYaml(pluginConfig), { mode: 0o644 });
  }

  private async download(): Promise<void> {
    const { download_uri: packageUrl, buildpack_cache_download_uri: cacheUrl } = this.message;
    const { signal } = this.abort;
    const [app] = await Promise.allSettled([
      this.downloadReadable(packageUrl, 'app.zip', signal),
      cacheUrl
        ? this.downloadReadable(cacheUrl, 'buildpack_cache.tgz', signal).catch((error: unknown) =>
            this.logger.warn('staging.buildpacks-cache-download.failed', errorData(error)),
          )
        : Promise.resolve(),
    ]);
    if (app.status === 'rejected') throw app.reason;
  }

  private async downloadReadable(url: string, name: string, signal: AbortSignal): Promise<void> {
    const path = join(this.workspace!, name);
    await downloadToFile({ url, path, signal, logger: this.logger });
    await chmod(path, 0o744);
  }

  private async prepareContainer(): Promise<void> {
    const log = this.paths!.inside(stagingLogPath);
    const prepareLog = this.runAsApp(`mkdir -p ${this.paths!.inside('/tmp/staged/logs')} && touch ${log}`);
    if (this.context.engine.isolation === 'none') return prepareLog;
    const prepareApp = runScript(
      this.container!,
      'mkdir -p /app && touch /app/support_heroku_buildpacks && chown -R vcap:vcap /app',
      { user: 'root' },
    );
    await Promise.all([prepareLog, prepareApp]);
  }

  /** Steps 6 to 11: from the package to a droplet on the host. */
  private async build(): Promise<void> {
    const inside = (path: string) => this.paths!.inside(path);
    try {
      await this.runAsApp(
        this.unpackScript(
          'app package',
          'app.zip',
          (archive) => `mkdir -p ${inside('/tmp/unstaged')}; unzip -q ${archive} -d ${inside('/tmp/unstaged')}`,
        ),
      );
      await this.runAsApp(
        `mkdir -p ${inside('/tmp/cache')}; [ ! -f ${this.workspace}/buildpack_cache.tgz ] || { ${this.unpackScript(
          'app buildpack cache',
          'buildpack_cache.tgz',
          (archive) => `tar zxf ${archive} -C ${inside('/tmp/cache')}`,
        )}; }`,
      );
      await this.runBuilder();
      await this.runAsApp(`cd ${inside('/tmp/staged')} && tar -czf ${inside('/tmp/droplet.tgz')} .`);
      const droplet = join(this.workspace!, 'staged/droplet.tgz');
      this.dropletSha1 = await copyFileOut(this.container!, '/tmp/droplet.tgz', droplet);
      await this.context.droplets.add(droplet, this.dropletSha1);
    } finally {
      await this.readStagingInfo();
    }
  }

  private unpackScript(title: string, archiveName: string, unpack: (archive: string) => string): string {
    const archive = `${this.workspace}/${archiveName}`;
    const line = `"-----> Downloaded ${title} ($(du -h ${archive} | cut -f1))"`;
    return `echo ${line} | tee -a ${this.paths!.inside(stagingLogPath)}; ${unpack(archive)}`;
  }

  private async runBuilder(): Promise<void> {
    const { config, builderDirectory, engine } = this.context;
    const builder = engine.isolation === 'none' ? builderDirectory : builderMount;
    const script = [
      'set -o pipefail',
      this.exports(),
      // Both streams go into the log that users watch, in their order.
      `${shellWord(`${builder}/run`)} ${this.workspace}/plugin_config 2>&1 | tee -a ${this.paths!.inside(stagingLogPath)}`,
    ].join('\n');
    const container = this.container!;
    this.abort.signal.throwIfAborted();
    const builderProcess = await container.run(
      { id: stagingProcessId, path: 'bash', user: appUser },
      { stdin: script },
    );
    this.hasStartedProcess = true;
    this.context.onChange();
    let isTimedOut = false;
    const timer = setTimeout(() => {
      isTimedOut = true;
      this.logger.warn('staging.task.execute-staging.timed-out');
      container
        .stop({ kill: true })
        .catch((error: unknown) => this.logger.error('staging.kill.failed', errorData(error)));
    }, config.staging.max_staging_duration * 1000);
    try {
      const exitStatus = await builderProcess.wait();
      if (isTimedOut) throw new StagingTimeoutError();
      this.abort.signal.throwIfAborted();
      if (exitStatus !== 0) throw new ScriptError(exitStatus, '');
    } finally {
      clearTimeout(timer);
    }
  }

  private exports(): string {
    const { message, context } = this;
    const limits = (message.start_message?.limits ?? {}) as { mem?: number };
    const vcapApplication = message.start_message?.vcap_application;
    return stagingExports({
      vcapApplication: (vcapApplication ?? {}) as Record<string, unknown>,
      services: message.properties.services,
      memoryMb: message.memory_limit ?? limits.mem ?? this.size.memoryMb,
      stagingTimeoutSeconds: context.config.staging.max_staging_duration,
      entries: message.properties.environment,
    });
  }

  private async readStagingInfo(): Promise<void> {
    const text = await readContainerFile(this.paths!.rootDirectory, '/tmp/staged/staging_info.yml').catch(
      (error: unknown) => {
        this.logger.warn('staging.staging-info.unreadable', errorData(error));
        return undefined;
      },
    );
    this.stagingInfo = parseStagingInfo(text);
  }

  /** Steps 12 to 14: the droplet must arrive; the cache only makes the next staging faster. */
  private async deliver(): Promise<void> {
    const { signal } = this.abort;
    const droplet = join(this.workspace!, 'staged/droplet.tgz');
    await this.runAsApp(
      `echo "-----> Uploading droplet (${await humanSize(droplet)})" | tee -a ${this.paths!.inside(stagingLogPath)}`,
    );
    await uploadBlob({
      url: this.message.upload_uri,
      file: droplet,
      filename: 'droplet.tgz',
      signal,
      logger: this.logger,
    });
    const { buildpack_cache_upload_uri: cacheUrl } = this.message;
    if (!cacheUrl) return;
    try {
      await this.uploadCache(cacheUrl, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (this.context.config.staging.fail_on_cache_upload_error) throw error;
      this.logger.warn('staging.buildpack-cache.upload.failed', errorData(error));
    }
  }

  private async uploadCache(url: string, signal: AbortSignal): Promise<void> {
    const inside = (path: string) => this.paths!.inside(path);
    const file = join(this.workspace!, 'staged/buildpack_cache.tgz');
    await this.runAsApp(`cd ${inside('/tmp/cache')} && tar -czf ${inside('/tmp/buildpack_cache.tgz')} .`);
    await copyFileOut(this.container!, '/tmp/buildpack_cache.tgz', file);
    await uploadBlob({ url, file, filename: 'buildpack_cache.tgz', signal, logger: this.logger });
  }

  private async cleanUp(): Promise<void> {
    const { engine, ledger } = this.context;
    if (this.container) {
      await engine.destroy(this.container.handle).catch((error: unknown) => {
        if (!(error instanceof UnknownHandleError)) throw error;
      });
      this.container = undefined;
      this.paths = undefined;
    }
    if (this.workspace) await rm(this.workspace, { recursive: true, force: true });
    await ledger.release(this.reservationId);
  }

  private async runAsApp(script: string): Promise<void> {
    this.abort.signal.throwIfAborted();
    await runScript(this.container!, script, { user: appUser });
    this.abort.signal.throwIfAborted();
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
      ...(this.error !== undefined && { error: this.errorText(this.error) }),
      ...(this.error !== undefined && info.staging_error && { error_info: info.staging_error }),
    };
  }

  /** The texts that the Cloud Controller shows to its users (docs/protocol/dea.md §17.9). */
  private errorText(error: unknown): string {
    const isKnown = [DownloadError, UploadError, ScriptError, InvalidEgressRuleError, StagingTimeoutError].some(
      (known) => error instanceof known,
    );
    const text = error instanceof Error ? error.message : String(error);
    return isKnown ? text : `Error staging: ${text}`;
  }

  private logUrl(): string {
    return this.context.logUrl(this.id);
  }
}

async function humanSize(file: string): Promise<string> {
  const { stdout } = await runCommand('du', ['-h', file]);
  return stdout.split('\t')[0]!;
}

import type { Container } from '../../containers/engine.js';
import { errorData, type Logger } from '../../logging/logger.js';
import { runCommand } from '../../process/command.js';
import {
  appUser,
  ContainerPaths,
  configuredBindMounts,
  containerRoot,
  copyFileOut,
  deaOwner,
  kindProperty,
  ownerProperty,
  readContainerFile,
  runScript,
  ScriptError,
  stackRootfs,
} from '../containers.js';
import { netOutRules } from '../egress-rules.js';
import { stagingLimits } from '../instances/limits.js';
import { shellWord } from '../shell.js';
import { builderMounts } from './builder-mounts.js';
import type { StagingContext } from './staging-context.js';
import { StagingOutOfMemoryError, StagingTimeoutError } from './staging-errors.js';
import {
  type BuildEnvironment,
  buildExports,
  buildScript,
  stagingInfoPath,
  stagingLogPath,
  unpackScript,
} from './staging-script.js';
import type { Workspace } from './workspace.js';

const builderMount = '/tmp/lifecycle';
/** Exit status of a job that ended with its container. */
const killedUnderIt = 255;
/** Name of the build among the container's processes; the snapshot tells it as the job's number. */
export const stagingProcessId = '1';

export interface StagingContainerOptions {
  context: StagingContext;
  handle: string;
  /** Whose log gets what is printed in it. */
  appId: string;
  workspace: Workspace;
  /** Ends the steps between their programs; a program that runs is ended by `stop`. */
  signal: AbortSignal;
  logger: Logger;
}

/** What the container is made by; a fault in it fails the staging. */
export interface StagingContainerSpec {
  stack: string | null;
  memoryMb: number;
  diskMb: number;
  egressRules: Parameters<typeof netOutRules>[0];
}

/**
 * The container that an app is built in: its steps from the package to the droplet (docs/protocol/dea.md §17.4). Each
 * may be called once, in the order in which they stand here.
 */
export class StagingContainer {
  readonly paths: ContainerPaths;

  private constructor(
    readonly container: Container,
    /** Directory of the container on this machine. */
    readonly containerPath: string,
    private readonly options: StagingContainerOptions,
  ) {
    this.paths = new ContainerPaths(options.context.engine, containerRoot(containerPath));
  }

  /**
   * Makes the container. One that was made when this fails all the same is left to the caller, who knows its handle.
   * @throws UnknownStackError, InvalidEgressRuleError, what the engine says, or the signal's reason
   */
  static async create(spec: StagingContainerSpec, options: StagingContainerOptions): Promise<StagingContainer> {
    const { context, handle, workspace, signal } = options;
    const { engine, config, adminBuildpacksDirectory, builderDirectory } = context;
    const rootfs = stackRootfs(config.stacks, spec.stack);
    const netOut = netOutRules(spec.egressRules);
    signal.throwIfAborted();
    const container = await engine.create({
      handle,
      rootfs,
      properties: { [ownerProperty]: deaOwner, [kindProperty]: 'staging' },
      bindMounts: [
        { source: workspace.path, destination: workspace.path, mode: 'ro' },
        { source: adminBuildpacksDirectory, destination: adminBuildpacksDirectory, mode: 'ro' },
        ...(await builderMounts(builderDirectory, builderMount)),
        ...configuredBindMounts(config),
      ],
      limits: stagingLimits(spec, config.staging),
      netOut,
    });
    const { containerPath } = await container.info();
    signal.throwIfAborted();
    const staging = new StagingContainer(container, containerPath, options);
    staging.watchMemory();
    return staging;
  }

  /** Ends what runs in it: TERM, and KILL later or at once. */
  stop(options: { kill?: boolean } = {}): Promise<void> {
    return this.container.stop(options);
  }

  /** The log that users watch, and the mark that old buildpacks look for. */
  async prepare(): Promise<void> {
    const log = this.runAsApp(`mkdir -p ${this.inside('/tmp/staged/logs')} && touch ${this.log}`);
    if (!this.isIsolated) return log;
    const mark = runScript(
      this.container,
      'mkdir -p /app && touch /app/support_heroku_buildpacks && chown -R vcap:vcap /app',
      { user: 'root' },
    );
    // Both have ended when this does, whichever fails.
    const [logged, marked] = await Promise.allSettled([log, mark]);
    for (const outcome of [logged, marked]) if (outcome.status === 'rejected') throw outcome.reason;
  }

  /** @throws ScriptError with the status of `unzip`, 9 for what is no zip */
  unpackPackage(): Promise<void> {
    const { packageFile: archive } = this.options.workspace;
    const target = this.inside('/tmp/unstaged');
    // In the locale C unzip spells names beyond ASCII anew, and fails.
    const unpack = `mkdir -p ${target}; LC_ALL=C.UTF-8 unzip -q ${shellWord(archive)} -d ${target}`;
    return this.runAsApp(unpackScript({ title: 'app package', archive, log: this.rawLog, unpack }));
  }

  /** The cache of the app's last staging, if there is one. */
  async unpackCache(): Promise<void> {
    const { workspace } = this.options;
    const target = this.inside('/tmp/cache');
    await this.runAsApp(`mkdir -p ${target}`);
    if (!workspace.hasCache) return;
    const archive = workspace.cacheFile;
    const unpack = `tar zxf ${shellWord(archive)} -C ${target}`;
    await this.runAsApp(unpackScript({ title: 'app buildpack cache', archive, log: this.rawLog, unpack }));
  }

  /**
   * Runs the builder, for `staging.max_staging_duration` at most (docs/protocol/dea.md §17.6).
   * @throws StagingTimeoutError, ScriptError, or the signal's reason
   */
  async build(environment: Omit<BuildEnvironment, 'timeoutSeconds'>, onStart: () => void): Promise<void> {
    const { context, workspace, signal, logger } = this.options;
    const timeoutSeconds = context.config.staging.max_staging_duration;
    const builder = this.isIsolated ? builderMount : context.builderDirectory;
    const script = buildScript({
      exports: buildExports({ ...environment, timeoutSeconds }),
      builder: `${builder}/run`,
      config: workspace.pluginConfigFile,
      log: this.rawLog,
    });
    signal.throwIfAborted();
    let isTimedOut = false;
    // Before the process starts: the builder has the same limit and must not be the first to notice.
    const timer = setTimeout(() => {
      isTimedOut = true;
      logger.warn('staging.task.execute-staging.timed-out');
      this.stop({ kill: true }).catch((error: unknown) => logger.error('staging.kill.failed', errorData(error)));
    }, timeoutSeconds * 1000);
    try {
      const status = await this.runBuild(script, onStart);
      if (status !== 0) throw new ScriptError(status, '');
    } catch (error) {
      if (isTimedOut) throw new StagingTimeoutError();
      signal.throwIfAborted();
      throw await this.explained(error);
    } finally {
      clearTimeout(timer);
    }
    signal.throwIfAborted();
  }

  /** What the builder left in `staging_info.yml`; undefined when there is nothing to be read. */
  readInfo(): Promise<string | undefined> {
    return readContainerFile(this.paths.rootDirectory, stagingInfoPath).catch((error: unknown) => {
      this.options.logger.warn('staging.staging-info.unreadable', errorData(error));
      return undefined;
    });
  }

  /** Packs the staged app and copies it out. Gives the droplet's SHA-1. */
  async packDroplet(): Promise<string> {
    // What the build left running must not write into the droplet; in its own process namespace, `-1` is all of that.
    const endOthers = this.isIsolated ? 'kill -KILL -1 2> /dev/null; ' : '';
    const droplet = this.inside('/tmp/droplet.tgz');
    await this.runAsApp(`${endOthers}cd ${this.inside('/tmp/staged')} && tar -czf ${droplet} .`);
    return this.copyOut('/tmp/droplet.tgz', this.options.workspace.dropletFile);
  }

  /** The last line of the log. */
  async announceUpload(): Promise<void> {
    const { stdout } = await runCommand('du', ['-h', this.options.workspace.dropletFile]);
    await this.say(`-----> Uploading droplet (${stdout.split('\t')[0]})`);
  }

  /** A line for the log that users watch. */
  async say(line: string): Promise<void> {
    await this.runAsApp(`echo ${shellWord(line)} | tee -a ${this.log}`);
  }

  /** Packs what the buildpack keeps for the next staging, and copies it out. */
  async packCache(): Promise<void> {
    const archive = this.inside('/tmp/buildpack_cache.tgz');
    await this.runAsApp(`cd ${this.inside('/tmp/cache')} && tar -czf ${archive} .`);
    await this.copyOut('/tmp/buildpack_cache.tgz', this.options.workspace.packedCacheFile);
  }

  private get isIsolated(): boolean {
    return this.options.context.engine.isolation !== 'none';
  }

  private inside(path: string): string {
    return shellWord(this.paths.inside(path));
  }

  private get rawLog(): string {
    return this.paths.inside(stagingLogPath);
  }

  private get log(): string {
    return shellWord(this.rawLog);
  }

  private async runBuild(script: string, onStart: () => void): Promise<number> {
    const { container } = this;
    const { context, appId, signal } = this.options;
    const build = await container.run(
      { id: stagingProcessId, path: 'bash', user: appUser, endlessOutput: true },
      { stdin: script },
    );
    // A stop that came while it was being started may not have found it.
    if (signal.aborted) await this.stop({ kill: true });
    const output = await context.outputs.follow({
      container,
      containerPath: this.containerPath,
      processId: stagingProcessId,
      appId,
      source: { sourceType: 'STG', sourceInstance: '0' },
    });
    onStart();
    const status = await build.wait();
    await output.settled();
    return status;
  }

  private async copyOut(path: string, target: string): Promise<string> {
    const sha1 = await copyFileOut(this.container, path, target);
    this.options.signal.throwIfAborted();
    return sha1;
  }

  private async runAsApp(script: string): Promise<void> {
    const { context, appId, signal } = this.options;
    signal.throwIfAborted();
    try {
      await runScript(this.container, script, {
        user: appUser,
        onOutput: ({ stdout, stderr }) => {
          context.appLog.stagingOutput(appId, stdout, 'OUT');
          context.appLog.stagingOutput(appId, stderr, 'ERR');
        },
      });
    } catch (error) {
      signal.throwIfAborted();
      throw await this.explained(error);
    }
    signal.throwIfAborted();
  }

  /** A container that ran out of memory is stopped as a whole, as Warden does, whatever the buildpack makes of it. */
  private watchMemory(): void {
    const unsubscribe = this.container.onEvent(() => {
      unsubscribe();
      this.stop({ kill: true }).catch((error: unknown) =>
        this.options.logger.warn('staging.out-of-memory.stop.failed', errorData(error)),
      );
    });
  }

  /** When someone stopped or killed the container under a script, that is what users are told (§17.9). */
  private async explained(error: unknown): Promise<unknown> {
    if (await this.ranOutOfMemory()) return new StagingOutOfMemoryError(killedUnderIt);
    if (error instanceof ScriptError && error.exitStatus <= 128) return error;
    const isAlive = await runScript(this.container, 'true').then(
      () => true,
      () => false,
    );
    return isAlive ? error : new ScriptError(killedUnderIt, '');
  }

  private async ranOutOfMemory(): Promise<boolean> {
    return this.container.info().then(
      ({ events }) => events.length > 0,
      () => false,
    );
  }
}

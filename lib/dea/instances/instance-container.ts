import { access, readFile, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { load as parseYaml } from 'js-yaml';
import type { Container, ContainerEngine, ContainerProcess, PortMapping } from '../../containers/engine.js';
import { UnknownHandleError } from '../../containers/errors.js';
import { errorData, type Logger } from '../../logging/logger.js';
import { type DeaConfig, defaultHealthCheckTimeout } from '../config.js';
import {
  appUser,
  configuredBindMounts,
  containerRoot,
  copyDirectoryOut,
  deaOwner,
  kindProperty,
  ownerProperty,
  readContainerFile,
  runProgram,
  runSecretScript,
  stackRootfs,
  UserFacingError,
} from '../containers.js';
import { netOutRules } from '../egress-rules.js';
import type { JobOutput, JobOutputs } from '../logs/job-output.js';
import type { InstanceAttributes } from './attributes.js';
import { systemExports, userExports } from './environment.js';
import { accepts, waitUntilHealthy } from './health-check.js';
import { instanceLimits } from './limits.js';
import { hookScript, startScript } from './start-script.js';
import { type InstanceStats, StatCollector } from './stat-collector.js';

export interface InstanceContainerOptions {
  attributes: InstanceAttributes;
  engine: ContainerEngine;
  config: DeaConfig;
  localIp: string;
  outputs: JobOutputs;
  /** Milliseconds of a clock that nobody sets. */
  monotonicClock: () => number;
  logger: Logger;
}

/** What a snapshot remembers about the container of an instance. */
export interface InstanceContainerRecord {
  handle: string;
  containerPath: string;
  hostIp: string;
  containerIp: string;
  ports: PortMapping;
}

/** Id of the app's process in its container, a Warden job's number for readers of the snapshot. */
const appProcessId = '1';
const home = '/home/vcap';
const minimumSampleAgeMs = 1000;
/** How long a running app may take to accept a connection. */
const answerLimitMs = 5000;

/** The container of one instance, and all that is done in it (docs/protocol/dea.md §9, §10, §11.1). */
export class InstanceContainer {
  /** The container keeps the id that the instance was born with. */
  readonly handle: string;
  private readonly statCollector = new StatCollector();
  private container: Container | undefined;
  private creating: Promise<void> | undefined;
  private destroying: Promise<void> | undefined;
  private current: InstanceContainerRecord | undefined;
  private root: string | undefined;
  private output: JobOutput | undefined;

  constructor(private readonly options: InstanceContainerOptions) {
    this.handle = options.attributes.instanceId;
  }

  get record(): InstanceContainerRecord | undefined {
    return this.current;
  }

  get stats(): InstanceStats {
    return this.statCollector.stats;
  }

  /** Host directory that is the container's root, while there is a container. */
  get rootDirectory(): string | undefined {
    return this.root;
  }

  /** Host directory of the app user's home while there is a container. */
  get homeDirectory(): string | undefined {
    return this.rootDirectory && join(this.rootDirectory, home);
  }

  /** Makes the container, with the droplet's directory mounted at its host path. */
  create(dropletDirectory: string, signal: AbortSignal): Promise<void> {
    this.creating = this.runCreate(dropletDirectory, signal);
    return this.creating;
  }

  /**
   * Takes a container over that an earlier agent made; also one that the agent had no time to note down.
   * @returns the app's process
   * @throws when the container or the process is gone
   */
  async adopt(saved: InstanceContainerRecord | undefined): Promise<ContainerProcess> {
    this.current = saved;
    const container = await this.options.engine.lookup(saved?.handle ?? this.handle);
    await this.take(container, saved?.ports);
    // First: what nobody was given yet belongs to the first who attaches, with some servers whether he reads it or not.
    await this.followOutput(container);
    return container.attach(appProcessId);
  }

  /** Extracts the droplet. One without an app directory, as very old ones may be, gets an empty one. */
  async install(droplet: string): Promise<void> {
    await runProgram(this.container!, 'tar', ['zxf', droplet], { user: appUser });
    const hasApp = await access(join(this.homeDirectory!, 'app')).then(
      () => true,
      () => false,
    );
    if (!hasApp) await runProgram(this.container!, 'mkdir', ['-p', 'app'], { user: appUser });
  }

  /**
   * `staging_info.yml` of the extracted droplet; undefined when there is none, or when the droplet has more that must
   * be looked at before its app is started (`droplet.yaml` of very old ones).
   */
  async stagingInfo(): Promise<string | undefined> {
    const [stagingInfo, manifest] = await Promise.all(
      ['staging_info.yml', 'droplet.yaml'].map((name) => readContainerFile(this.rootDirectory!, `${home}/${name}`)),
    );
    return manifest === undefined ? stagingInfo : undefined;
  }

  /** Whether the start script has come as far as the app. */
  async hasBegunApp(): Promise<boolean> {
    if (!this.container) return false;
    return (await readContainerFile(this.rootDirectory!, `${home}/run.pid`)) !== undefined;
  }

  /**
   * Starts the app itself; `unpacking` extracts a droplet whose `staging_info.yml` is known first, in the same process.
   * @throws UserFacingError when there is no start command
   */
  async spawnApp(startedAt: Date, unpacking?: { droplet: string; stagingInfo: string }): Promise<ContainerProcess> {
    const { config, attributes } = this.options;
    const stagingInfo =
      unpacking?.stagingInfo ?? (await readContainerFile(this.rootDirectory!, `${home}/staging_info.yml`));
    const script = startScript({
      ...this.exports(startedAt),
      command: this.startCommand(stagingInfo),
      postSetupHook: config.post_setup_hook,
      droplet: unpacking?.droplet,
    });
    const container = this.container!;
    const appProcess = await container.run(
      {
        id: appProcessId,
        path: 'bash',
        user: appUser,
        endlessOutput: true,
        rlimits: { nofile: attributes.limits.fds, nproc: config.instance.nproc_limit },
      },
      { stdin: script },
    );
    await this.followOutput(container);
    return appProcess;
  }

  /** @returns false when the app's time is up */
  waitUntilHealthy(signal: AbortSignal): Promise<boolean> {
    const { attributes, config, localIp } = this.options;
    const timeoutSeconds = attributes.healthCheckTimeout ?? defaultHealthCheckTimeout(config);
    const isRouted = attributes.applicationUris.length > 0;
    return waitUntilHealthy(
      {
        rootDirectory: this.rootDirectory!,
        home,
        address: isRouted ? { host: localIp, port: this.current!.ports.hostPort } : undefined,
        timeoutMs: timeoutSeconds * 1000,
      },
      signal,
    );
  }

  /** Whether the app's port takes a connection now; an app without routes is not asked. */
  async isAnswering(signal: AbortSignal): Promise<boolean> {
    const { attributes, localIp } = this.options;
    if (attributes.applicationUris.length === 0 || !this.current) return true;
    return accepts({ host: localIp, port: this.current.ports.hostPort }, answerLimitMs, signal);
  }

  /** Runs an operator's hook with the app's environment; a hook whose file is missing is only warned of. */
  async runHook(path: string | undefined, startedAt: Date): Promise<void> {
    if (path === undefined || !this.container) return;
    let hook: string;
    try {
      hook = await readFile(path, 'utf8');
    } catch (error) {
      this.options.logger.warn('droplet.hook-script.missing', { hook_path: path, ...errorData(error) });
      return;
    }
    await runSecretScript(this.container, hookScript({ ...this.exports(startedAt), hook }), { user: appUser });
  }

  /** What happened to the container, `out of memory`; undefined when that can no longer be learnt. */
  async pastEvents(): Promise<string[] | undefined> {
    try {
      return (await this.container?.info())?.events;
    } catch {
      return undefined;
    }
  }

  /** Samples the container unless that was done just now. Errors keep the old values. */
  async collectStats(): Promise<void> {
    const { monotonicClock, logger } = this.options;
    const nowMs = monotonicClock();
    if (!this.container || nowMs - this.stats.sampledAtMs < minimumSampleAgeMs) return;
    try {
      this.statCollector.add(await this.container.metrics(), nowMs);
    } catch (error) {
      logger.warn('stat-collector.info-retrieval.failed', errorData(error));
    }
  }

  /** Ends all processes, as soon as the container is made; nothing to do without one. */
  async stop(options: { kill?: boolean } = {}): Promise<void> {
    await this.settleCreation();
    try {
      await this.container?.stop(options);
    } catch (error) {
      // A container that is gone is stopped.
      if (!(error instanceof UnknownHandleError)) throw error;
    }
  }

  /** Copies the app's logs into a host directory. @throws when there are none */
  async keepLogs(target: string): Promise<void> {
    if (this.container) await copyDirectoryOut(this.container, `${home}/logs`, target);
  }

  /** Removes the container, if there is one. Idempotent. */
  async destroy(): Promise<void> {
    await this.settleCreation();
    this.destroying ??= this.runDestroy().catch((error: unknown) => {
      this.destroying = undefined;
      throw error;
    });
    await this.destroying;
  }

  private async runCreate(dropletDirectory: string, signal: AbortSignal): Promise<void> {
    const { config, engine, attributes } = this.options;
    const rootfs = stackRootfs(config.stacks, attributes.stack);
    const netOut = netOutRules(attributes.egressNetworkRules);
    signal.throwIfAborted();
    const container = await engine.create({
      handle: this.handle,
      rootfs,
      properties: { [ownerProperty]: deaOwner, [kindProperty]: 'instance' },
      bindMounts: [
        { source: dropletDirectory, destination: dropletDirectory, mode: 'ro' },
        ...configuredBindMounts(config),
      ],
      limits: instanceLimits(attributes.limits, config.instance),
      netIn: [{}],
      netOut,
    });
    await this.take(container);
    await this.linkAppDirectory();
  }

  /**
   * Buildpacks of old find the app at `/app`, too. Made on the host, which costs no process: nothing has run in the
   * container yet, so no path in it can lead astray.
   */
  private async linkAppDirectory(): Promise<void> {
    if (this.options.engine.isolation === 'none') return;
    const path = join(this.rootDirectory!, 'app');
    await rm(path, { recursive: true, force: true });
    await symlink('home/vcap/app', path);
  }

  private async take(container: Container, ports?: PortMapping): Promise<void> {
    this.container = container;
    this.watchMemory(container);
    const info = await container.info();
    this.root = containerRoot(info.containerPath);
    this.current = {
      handle: container.handle,
      containerPath: info.containerPath,
      hostIp: info.hostIp,
      containerIp: info.containerIp,
      ports: ports ?? info.mappedPorts[0]!,
    };
  }

  /** A container that ran out of memory is stopped as a whole, as Warden does: half an app is no app. */
  private watchMemory(container: Container): void {
    const unsubscribe = container.onEvent(() => {
      unsubscribe();
      container
        .stop({ kill: true })
        .catch((error: unknown) => this.options.logger.warn('droplet.out-of-memory.stop.failed', errorData(error)));
    });
  }

  /** Undefined for a very old droplet, which has no `staging_info.yml` but a script of its own. */
  private startCommand(text: string | undefined): string | undefined {
    if (text === undefined) return undefined;
    const stagingInfo = parseYaml(text) as { start_command?: unknown } | null | undefined;
    const command = this.options.attributes.startCommand ?? stagingInfo?.start_command;
    if (typeof command !== 'string' || command === '') throw new UserFacingError('missing start command');
    return command;
  }

  private exports(startedAt: Date): { systemExports: string; userExports: string } {
    const { attributes, localIp } = this.options;
    const { ports } = this.current!;
    return {
      systemExports: systemExports({
        vcapApplication: attributes.vcapApplication,
        applicationId: attributes.applicationId,
        instanceId: attributes.instanceId,
        instanceIndex: attributes.instanceIndex,
        services: attributes.services,
        memoryMb: attributes.limits.mem,
        containerPort: ports.containerPort,
        hostPort: ports.hostPort,
        localIp,
        startedAt,
      }),
      userExports: userExports(attributes.environmentEntries),
    };
  }

  private async followOutput(container: Container): Promise<void> {
    const { outputs, attributes } = this.options;
    this.output = await outputs.follow({
      container,
      containerPath: this.current!.containerPath,
      processId: appProcessId,
      appId: attributes.applicationId,
      source: { sourceType: 'App', sourceInstance: String(attributes.instanceIndex) },
    });
  }

  private async settleCreation(): Promise<void> {
    await this.creating?.catch(() => {});
  }

  private async runDestroy(): Promise<void> {
    const { container } = this;
    if (!container) return;
    // What the app said last may still be on its way to those who read it.
    await this.output?.settled();
    try {
      await this.options.engine.destroy(container.handle);
    } catch (error) {
      if (!(error instanceof UnknownHandleError)) throw error;
    }
    this.container = undefined;
    this.current = undefined;
    this.root = undefined;
  }
}

import { readFile, rename } from 'node:fs/promises';
import { z } from 'zod';
import { writeFileAtomically } from '../files/atomic-write.js';
import { CoalescedWrite } from '../files/coalesced-write.js';
import { errorData, type Logger } from '../logging/logger.js';
import { environmentOf } from './instances/attributes.js';
import type { Instance } from './instances/instance.js';
import type { InstanceContainerRecord } from './instances/instance-container.js';
import { type InstanceState, syslogDrainUrls } from './messages.js';
import type { StagingTask } from './staging/staging-task.js';

/**
 * `<base_dir>/db/instances.json` (docs/protocol/dea.md §15): what a restarted agent resumes from, and what the logging
 * agent beside it reads. Replaced by rename, so that no reader ever sees an empty file; mode 0600, as it holds
 * credentials.
 */
export interface SnapshotOptions {
  path: string;
  temporaryDirectory: string;
  logger: Logger;
  clock: () => number;
  instances: () => Instance[];
  stagingTasks: () => StagingTask[];
}

/** What a snapshot says of one instance; `attributes` is still to be checked like a message. */
export interface SavedInstance {
  attributes: Record<string, unknown>;
  state: InstanceState;
  record: InstanceContainerRecord | undefined;
  startedAtMs: number | undefined;
  /** Whether the app had been found healthy; old agents told it by the state alone. */
  isHealthy: boolean;
  exitStatus: number;
  exitDescription: string;
}

/** A staging task that was under way; nobody goes on with it. */
export interface SavedStagingTask {
  /** The whole staging message, still to be checked. */
  message: Record<string, unknown>;
}

export interface SavedState {
  instances: SavedInstance[];
  stagingTasks: SavedStagingTask[];
}

const savedStates = ['STARTING', 'STOPPING', 'RUNNING', 'CRASHED', 'EVACUATING'] as const;

const instanceSchema = z.looseObject({
  state: z.enum(savedStates),
  warden_handle: z.string().nullish(),
  warden_container_path: z.string().nullish(),
  warden_host_ip: z.string().nullish(),
  warden_container_ip: z.string().nullish(),
  instance_host_port: z.int().nullish(),
  instance_container_port: z.int().nullish(),
  state_starting_timestamp: z.number().nullish(),
  start_message: z.record(z.string(), z.unknown()).nullish(),
  is_healthy: z.boolean().nullish(),
  exit_status: z.int().nullish(),
  exit_description: z.string().nullish(),
});

const stagingTaskSchema = z.looseObject({ staging_message: z.record(z.string(), z.unknown()) });

const fileSchema = z.object({
  instances: z.array(z.unknown()).nullish(),
  staging_tasks: z.array(z.unknown()).nullish(),
});

export class Snapshot {
  private readonly file = new CoalescedWrite(() => this.write());

  constructor(private readonly options: SnapshotOptions) {}

  /**
   * What an earlier agent left. A damaged file is moved aside: the agent must come up, and what the file named is
   * reclaimed as orphans. Records that make no sense are skipped with a warning.
   * @throws when the file can neither be read nor moved
   */
  async load(): Promise<SavedState> {
    const { path, logger, clock } = this.options;
    try {
      const { instances, staging_tasks: stagingTasks } = fileSchema.parse(JSON.parse(await readFile(path, 'utf8')));
      return {
        instances: (instances ?? []).flatMap((record) => this.parseInstance(record)),
        stagingTasks: (stagingTasks ?? []).flatMap((record) => this.parseStagingTask(record)),
      };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { instances: [], stagingTasks: [] };
      const aside = `${path}.corrupt.${Math.floor(clock() / 1000)}`;
      await rename(path, aside);
      // The parser's words quote the file, which holds secrets.
      logger.error('snapshot.load.corrupt', { moved_to: aside, error: (error as Error).name });
      return { instances: [], stagingTasks: [] };
    }
  }

  /** Writes soon; several changes of one moment make one write. Failures are logged, the next change tries again. */
  saveSoon(): void {
    this.save().catch((error: unknown) => this.options.logger.error('snapshot.save.failed', errorData(error)));
  }

  /** Resolves when the state of this moment is on the disk. */
  save(): Promise<void> {
    return this.file.save();
  }

  private async write(): Promise<void> {
    const { path, temporaryDirectory, instances, stagingTasks, clock } = this.options;
    const content = {
      time: clock() / 1000,
      instances: instances()
        .filter((instance) => (savedStates as readonly string[]).includes(instance.state))
        .map(instanceRecord),
      staging_tasks: stagingTasks().map((task) => task.snapshotRecord()),
    };
    await writeFileAtomically(path, JSON.stringify(content, undefined, 2), { temporaryDirectory });
  }

  private parseInstance(source: unknown): SavedInstance[] {
    const parsed = instanceSchema.safeParse(source);
    if (!parsed.success) {
      this.options.logger.warn('snapshot.instance.invalid', { problems: problemsOf(parsed.error) });
      return [];
    }
    const { start_message: startMessage, ...record } = parsed.data;
    return [
      {
        attributes: { ...startMessage, ...record },
        state: record.state,
        record: containerRecord(parsed.data),
        startedAtMs: record.state_starting_timestamp == null ? undefined : record.state_starting_timestamp * 1000,
        isHealthy: record.is_healthy ?? (record.state === 'RUNNING' || record.state === 'EVACUATING'),
        exitStatus: record.exit_status ?? -1,
        exitDescription: record.exit_description ?? '',
      },
    ];
  }

  private parseStagingTask(source: unknown): SavedStagingTask[] {
    const parsed = stagingTaskSchema.safeParse(source);
    if (parsed.success) return [{ message: parsed.data.staging_message }];
    this.options.logger.warn('snapshot.staging-task.invalid', { problems: problemsOf(parsed.error) });
    return [];
  }
}

function problemsOf({ issues }: z.ZodError): string[] {
  return issues.map(({ path, message }) => `${path.map(String).join('.') || '(record)'}: ${message}`);
}

function containerRecord(record: z.output<typeof instanceSchema>): InstanceContainerRecord | undefined {
  if (!record.warden_handle) return undefined;
  return {
    handle: record.warden_handle,
    containerPath: record.warden_container_path ?? '',
    hostIp: record.warden_host_ip ?? '',
    containerIp: record.warden_container_ip ?? '',
    ports: { hostPort: record.instance_host_port ?? 0, containerPort: record.instance_container_port ?? 0 },
  };
}

function instanceRecord(instance: Instance): Record<string, unknown> {
  const { attributes, record } = instance;
  return {
    cc_partition: attributes.ccPartition,
    instance_id: attributes.instanceId,
    instance_index: attributes.instanceIndex,
    private_instance_id: attributes.privateInstanceId,
    warden_handle: record?.handle ?? null,
    limits: attributes.limits,
    health_check_timeout: attributes.healthCheckTimeout,
    environment: environmentOf(attributes.environmentEntries),
    services: attributes.services,
    application_id: attributes.applicationId,
    application_version: attributes.applicationVersion,
    application_name: attributes.applicationName,
    application_uris: attributes.applicationUris,
    droplet_sha1: attributes.dropletSha1,
    droplet_uri: attributes.dropletUri,
    start_command: attributes.startCommand,
    state: instance.state,
    warden_job_id: instance.hasStartedProcess ? 1 : null,
    warden_container_path: record?.containerPath ?? null,
    warden_host_ip: record?.hostIp ?? null,
    warden_container_ip: record?.containerIp ?? null,
    instance_host_port: record?.ports.hostPort ?? null,
    instance_container_port: record?.ports.containerPort ?? null,
    syslog_drain_urls: syslogDrainUrls(attributes.services),
    state_starting_timestamp: instance.startedAtMs === undefined ? null : instance.startedAtMs / 1000,
    is_healthy: instance.wasHealthy,
    exit_status: instance.exitStatus,
    exit_description: instance.exitDescription,
    start_message: attributes.startMessage,
  };
}

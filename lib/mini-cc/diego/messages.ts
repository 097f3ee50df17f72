/**
 * What the Cloud Controller and a CC-bridge say to each other over HTTP (docs/protocol/legacy-cc.md §9): nothing else in
 * this component spells these paths and keys. Messages hold what bridges of 2015 and of 2017 read.
 */
import { z } from 'zod';

/** Paths of the bridge's three listeners. */
export const bridgePaths = {
  app: (processGuid: string) => `/v1/apps/${processGuid}`,
  index: (processGuid: string, index: number) => `/v1/apps/${processGuid}/index/${index}`,
  tasks: '/v1/tasks',
  task: (taskGuid: string) => `/v1/tasks/${taskGuid}`,
  staging: (stagingGuid: string) => `/v1/staging/${stagingGuid}`,
  actualLrps: (processGuid: string) => `/v1/actual_lrps/${processGuid}`,
  stats: (processGuid: string) => `/v1/actual_lrps/${processGuid}/stats`,
} as const;

/** Where the bridge tells of the end of a staging. */
export function completionPath(stagingGuid: string): string {
  return `/internal/staging/${stagingGuid}/completed`;
}

/** Where the bridge tells of the end of a task. */
export function taskCompletionPath(taskGuid: string): string {
  return `/internal/v3/tasks/${taskGuid}/completed`;
}

export interface EnvironmentVariable {
  name: string;
  value: string;
}

/** A rule as Diego has it: `ports` or `port_range` for tcp and udp, `icmp_info` for icmp. */
export interface DiegoEgressRule {
  protocol: string;
  destinations: string[];
  ports?: number[];
  port_range?: { start: number; end: number };
  icmp_info?: { type: number; code: number };
  log?: boolean;
}

/** What nsync is to have run; 0 instances of a stopped app. Memory and disk in MB. */
export interface DesireMessage {
  process_guid: string;
  memory_mb: number;
  disk_mb: number;
  file_descriptors: number;
  droplet_uri: string;
  droplet_hash: string;
  stack: string;
  start_command: string | null;
  execution_metadata: string;
  environment: EnvironmentVariable[];
  num_instances: number;
  /** Read by bridges of before 2016; later ones read `routing_info`. */
  routes: string[];
  routing_info: { http_routes: { hostname: string }[] };
  log_guid: string;
  log_source: string;
  health_check_type: string;
  health_check_timeout_in_seconds: number;
  egress_rules: DiegoEgressRule[];
  /** Another one with each change of the app. */
  etag: string;
  allow_ssh: boolean;
}

/** What nsync is to have run once; MB (docs/protocol/cc-bridge.md §2.4). */
export interface TaskMessage {
  task_guid: string;
  log_guid: string;
  memory_mb: number;
  disk_mb: number;
  lifecycle: 'buildpack';
  environment: EnvironmentVariable[];
  egress_rules: DiegoEgressRule[];
  droplet_uri: string;
  droplet_hash: string;
  /** Name of the stack. */
  rootfs: string;
  /** Has the credentials of the internal API in it. */
  completion_callback: string;
  command: string;
  log_source: string;
  volume_mounts: [];
}

/** A buildpack as the stager gets it. */
export interface BuildpackEntry {
  name: string;
  key: string;
  url: string;
  skip_detect?: true;
}

/** What the stager is to stage; MB, seconds. */
export interface StagingRequest {
  app_id: string;
  log_guid: string;
  file_descriptors: number;
  memory_mb: number;
  disk_mb: number;
  environment: EnvironmentVariable[];
  timeout: number;
  egress_rules: DiegoEgressRule[];
  lifecycle: 'buildpack';
  lifecycle_data: {
    app_bits_download_uri: string;
    build_artifacts_cache_download_uri?: string;
    build_artifacts_cache_upload_uri: string;
    droplet_upload_uri: string;
    stack: string;
    buildpacks: BuildpackEntry[];
  };
  /** Has the credentials of the internal API in it. */
  completion_callback: string;
}

/** What the app's process is to be called with, by its type. */
const processTypes = z.record(z.string(), z.string());

const lifecycleFacts = z.looseObject({ buildpack_key: z.string(), detected_buildpack: z.string() });

/** The end of a staging as bridges of before 2016 tell it. */
const flatCompletion = z
  .looseObject({
    execution_metadata: z.string(),
    detected_start_command: processTypes,
    lifecycle_data: lifecycleFacts,
  })
  .transform((completion) => ({
    executionMetadata: completion.execution_metadata,
    startCommand: completion.detected_start_command.web ?? null,
    buildpackKey: completion.lifecycle_data.buildpack_key,
    detectedBuildpack: completion.lifecycle_data.detected_buildpack,
  }));

/** The same since 2016. */
const nestedCompletion = z
  .looseObject({
    result: z.looseObject({
      execution_metadata: z.string(),
      lifecycle_type: z.literal('buildpack'),
      lifecycle_metadata: lifecycleFacts,
      process_types: processTypes.nullish(),
    }),
  })
  .transform(({ result }) => ({
    executionMetadata: result.execution_metadata,
    startCommand: result.process_types?.web ?? null,
    buildpackKey: result.lifecycle_metadata.buildpack_key,
    detectedBuildpack: result.lifecycle_metadata.detected_buildpack,
  }));

/** What a staging made, in either form. */
export const stagedSchemas = { nested: nestedCompletion, flat: flatCompletion };
export type Staged = z.output<typeof nestedCompletion>;

export const stagingErrorSchema = z.looseObject({ error: z.looseObject({ id: z.string(), message: z.string() }) });

/** A crashed instance; `crash_timestamp` in nanoseconds. */
export const crashReportSchema = z.looseObject({
  instance: z.string().nullish(),
  index: z.int().nullish(),
  reason: z.string().nullish(),
  exit_status: z.int().nullish(),
  exit_description: z.string().nullish(),
});

/** The end of a task. */
export const taskCompletionSchema = z.looseObject({
  task_guid: z.string(),
  failed: z.boolean(),
  failure_reason: z.string().nullish(),
});

export const lrpStates = ['STARTING', 'RUNNING', 'CRASHED', 'DOWN', 'UNKNOWN'] as const;

const lrpSchema = z.looseObject({
  instance_guid: z.string(),
  index: z.int().min(0),
  /** One that is not known is as good as none. */
  state: z.enum(lrpStates).catch('UNKNOWN'),
  /** Seconds since 1970. */
  since: z.number(),
  /** Seconds. */
  uptime: z.number().default(0),
  details: z.string().nullish(),
  host: z.string().nullish(),
  port: z.int().nullish(),
  stats: z.looseObject({ time: z.string(), cpu: z.number(), mem: z.number(), disk: z.number() }).partial().nullish(),
});

/** What tps tells of a process: its instances, `host`, `port` and `stats` only when asked for. */
export const lrpsSchema = z.array(lrpSchema);
export type Lrp = z.output<typeof lrpSchema>;

/** The body of a bridge's refusal. */
export const refusalSchema = z.looseObject({ error: z.looseObject({ message: z.string() }) });

/** Process guids whose messages the bridge asks for. */
export const processGuidsSchema = z.array(z.string());

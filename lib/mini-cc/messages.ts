/**
 * Every NATS subject and payload of the Cloud Controller (docs/protocol/legacy-cc.md §1 to §6): nothing else in this
 * component spells them. Readers forgive what a strict Cloud Controller would stumble over.
 */
import { z } from 'zod';

export const subjects = {
  deaAdvertise: 'dea.advertise',
  deaShutdown: 'dea.shutdown',
  stagingAdvertise: 'staging.advertise',
  dropletExited: 'droplet.exited',
  deaStart: (deaId: string) => `dea.${deaId}.start`,
  deaStop: 'dea.stop',
  deaUpdate: 'dea.update',
  deaFindDroplet: 'dea.find.droplet',
  stagingStart: (stagerId: string) => `staging.${stagerId}.start`,
  stagingStop: 'staging.stop',
  buildpacks: 'buildpacks',
  dropletUpdated: 'droplet.updated',
  hm9000Start: 'hm9000.start',
  hm9000Stop: 'hm9000.stop',
  healthStart: 'health.start',
  healthStop: 'health.stop',
  bulkCredentials: (partition: string) => `cloudcontroller.bulk.credentials.${partition}`,
  appState: 'app.state',
  appStateBulk: 'app.state.bulk',
  componentAnnounce: 'vcap.component.announce',
  componentDiscover: 'vcap.component.discover',
} as const;

/** One of several Cloud Controllers records a crash. */
export const crashQueueGroup = 'crash_event_registration';

/** One of several Cloud Controllers carries out an order of the health manager. */
export const orderQueueGroup = 'cc';

/** Health managers refuse more questions than these in one message (docs/protocol/health-manager.md §8.2). */
export const maximumStateQuestions = 50;

/** An id goes into a subject, so it must be one token of it. */
const agentId = z.string().regex(/^[^\s.*>]+$/, 'must be one token of a subject');

const stacks = z
  .array(z.string())
  .nullish()
  .transform((names) => names ?? []);

/** Absent or null counts as enough. */
const availableDisk = z
  .number()
  .nullish()
  .transform((megabytes) => megabytes ?? Number.POSITIVE_INFINITY);

/** `staging.advertise`; memory and disk in MB, possibly negative or fractional. */
export const stagerAdvertisementSchema = z.object({
  id: agentId,
  stacks,
  available_memory: z.number(),
  available_disk: availableDisk,
});
export type StagerAdvertisement = z.output<typeof stagerAdvertisementSchema>;

/** `dea.advertise`. */
export const deaAdvertisementSchema = stagerAdvertisementSchema.extend({
  /** Base URL that takes messages over HTTPS; null where there is none, or none that can be used. */
  url: z
    .url({ protocol: /^https$/ })
    .nullable()
    .catch(null),
  app_id_to_count: z
    .record(z.string(), z.number())
    .nullish()
    .transform((counts) => counts ?? {}),
  placement_properties: z
    .object({
      zone: z
        .string()
        .nullish()
        .transform((zone) => zone ?? 'default'),
    })
    .nullish()
    .transform((properties) => properties ?? { zone: 'default' }),
});
export type DeaAdvertisement = z.output<typeof deaAdvertisementSchema>;

export const deaShutdownSchema = z.object({ id: z.string() });

export const dropletExitedSchema = z.object({
  droplet: z.string(),
  version: z.string().nullish(),
  instance: z.string().nullish(),
  index: z.int().nullish(),
  reason: z.string(),
  exit_status: z.int().nullish(),
  exit_description: z.string().nullish(),
  crash_timestamp: z.number().nullish(),
});
export type DropletExited = z.output<typeof dropletExitedSchema>;

/** Limits of an instance: MB, MB, count. */
export interface Limits {
  mem: number;
  disk: number;
  fds: number;
}

/** A service as an app gets it in `VCAP_SERVICES`; user-provided ones have fewer fields. */
export interface ServiceMessage {
  credentials: Record<string, unknown>;
  options: Record<string, unknown>;
  syslog_drain_url: string | null;
  label: string;
  name: string;
  tags: string[];
  provider?: string | null;
  vendor?: string;
  plan?: string;
  version?: string;
}

export interface EgressRule {
  protocol: string;
  destination: string;
  ports?: string | undefined;
  type?: number | undefined;
  code?: number | undefined;
  log?: boolean | undefined;
}

/** `dea.<id>.start` (docs/protocol/legacy-cc.md §3). */
export interface StartMessage {
  droplet: string;
  name: string;
  stack: string;
  uris: string[];
  prod: boolean;
  sha1: string | null;
  executableFile: string;
  executableUri: string | null;
  version: string;
  services: ServiceMessage[];
  limits: Limits;
  env: string[];
  cc_partition: string;
  console: boolean;
  debug: null;
  start_command: string | null;
  health_check_timeout: number | null;
  vcap_application: Record<string, unknown>;
  index: number;
  egress_network_rules: EgressRule[];
}

/** `staging.<id>.start` (docs/protocol/legacy-cc.md §5.1). */
export interface StagingMessage {
  app_id: string;
  stack: string;
  task_id: string;
  properties: {
    services: ServiceMessage[];
    resources: { memory: number; disk: number; fds: number };
    environment: string[];
    meta: { console: boolean; command?: string };
    buildpack_key?: string;
    buildpack?: string;
    buildpack_git_url?: string;
  };
  download_uri: string | null;
  upload_uri: string;
  buildpack_cache_download_uri: string | null;
  buildpack_cache_upload_uri: string;
  start_message: StartMessage;
  admin_buildpacks: { key: string; url: string }[];
  egress_network_rules: EgressRule[];
  /** Whether the second reply may come over HTTP. */
  accepts_http?: boolean;
}

/** First and second reply to a staging request alike: both are read by the same rules (§5.2). */
export const stagingReplySchema = z.looseObject({
  task_id: z.string().nullish(),
  task_streaming_log_url: z.string().nullish(),
  task_log: z.string().nullish(),
  detected_buildpack: z.string().nullish(),
  buildpack_key: z.string().nullish(),
  droplet_sha1: z.string().nullish(),
  detected_start_command: z.string().nullish(),
  error: z.string().nullish(),
  error_info: z.object({ type: z.string(), message: z.string() }).nullish(),
});
export type StagingReply = z.output<typeof stagingReplySchema>;

/** `dea.stop`; no filter but the droplet stops the app in all its versions. */
export interface StopMessage {
  droplet: string;
  version?: string;
  indices?: number[];
  /** Ids of instances. */
  instances?: string[];
}

/** `hm9000.start`; fields that are not read are left out (docs/protocol/legacy-cc.md §6.2). */
export const startOrderSchema = z.object({
  droplet: z.string(),
  version: z.string(),
  instance_index: z.int().min(0),
});
export type StartOrder = z.output<typeof startOrderSchema>;

/** `hm9000.stop`. */
export const stopOrderSchema = startOrderSchema.extend({ instance_guid: z.string().min(1), is_duplicate: z.boolean() });
export type StopOrder = z.output<typeof stopOrderSchema>;

/** How many instances of each version the health manager sees running. */
const runningByVersion = z.record(z.string(), z.int().min(0)).default({});

/** `health.start` of before March 2014 (docs/protocol/health-manager.md §6.4). */
export const healthStartSchema = z.object({
  droplet: z.string(),
  version: z.string(),
  indices: z.array(z.int().min(0)),
  running: runningByVersion,
});
export type HealthStart = z.output<typeof healthStartSchema>;

/** `health.stop` of before March 2014: `instances` has the version of each instance id. */
export const healthStopSchema = z.object({
  droplet: z.string(),
  instances: z.record(z.string().min(1), z.string()),
  running: runningByVersion,
});
export type HealthStop = z.output<typeof healthStopSchema>;

/** What a health manager tells of one app-version (docs/protocol/health-manager.md §8.1); null is not known. */
export const appStateSchema = z.object({
  droplet: z.string(),
  version: z.string(),
  instance_heartbeats: z
    .array(z.object({ instance: z.string(), index: z.int(), state: z.string(), state_timestamp: z.number() }))
    .nullish(),
  crash_counts: z.array(z.object({ instance_index: z.int(), crash_count: z.int(), created_at: z.number() })).nullish(),
});
export type AppState = z.output<typeof appStateSchema>;

/** A component as collectors know it; `vcap.component.discover` is answered with `uptime` added (§1.3). */
export interface ComponentRecord {
  type: string;
  index: number;
  uuid: string;
  /** `address:port` of its `/healthz` and `/varz`. */
  host: string;
  credentials: [user: string, password: string];
  start: string;
}

/** States that `dea.find.droplet` asks for. */
export type FindState = 'STARTING' | 'RUNNING' | 'CRASHED';

/** `dea.find.droplet`; the presence of `path`, also as null, asks for a file URL. */
export interface FindDropletMessage {
  droplet: string;
  version?: string;
  states?: FindState[];
  indices?: number[];
  instance_ids?: string[];
  include_stats?: boolean;
  path?: string | null;
}

const usageSchema = z.looseObject({
  time: z.string().nullish(),
  cpu: z.number().nullish(),
  mem: z.number().nullish(),
  disk: z.number().nullish(),
});

/** One instance's answer to `dea.find.droplet` (docs/protocol/legacy-cc.md §4.3). */
export const foundInstanceSchema = z.looseObject({
  dea: z.string().nullish(),
  droplet: z.string(),
  version: z.string().nullish(),
  instance: z.string(),
  index: z.int(),
  state: z.string(),
  state_timestamp: z.number(),
  file_uri_v2: z.string().nullish(),
  stats: z.looseObject({ usage: usageSchema.nullish() }).nullish(),
});
export type FoundInstance = z.output<typeof foundInstanceSchema>;

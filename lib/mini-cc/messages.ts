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
} as const;

/** One of several Cloud Controllers records a crash. */
export const crashQueueGroup = 'crash_event_registration';

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

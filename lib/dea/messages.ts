/**
 * Every subject and payload of the agent's NATS protocol (docs/protocol/dea.md §4, §5, §22): nothing else in the tree
 * spells them.
 */
import { z } from 'zod';

export const subjects = {
  advertise: 'dea.advertise',
  shutdown: 'dea.shutdown',
  stop: 'dea.stop',
  update: 'dea.update',
  findDroplet: 'dea.find.droplet',
  start: (agentId: string) => `dea.${agentId}.start`,
  dropletExited: 'droplet.exited',
  routerRegister: 'router.register',
  routerUnregister: 'router.unregister',
  routerStart: 'router.start',
  stagingStart: (agentId: string) => `staging.${agentId}.start`,
  stagingStop: 'staging.stop',
  routerGreet: 'router.greet',
  heartbeat: 'dea.heartbeat',
  healthManagerStart: 'healthmanager.start',
  agentStarted: 'dea.start',
  status: 'dea.status',
  locate: 'dea.locate',
  stagingLocate: 'staging.locate',
  stagingAdvertise: 'staging.advertise',
  stagingQueue: 'staging',
  discover: 'dea.discover',
  dropletStatus: 'droplet.status',
  componentAnnounce: 'vcap.component.announce',
  componentDiscover: 'vcap.component.discover',
} as const satisfies Record<string, string | ((agentId: string) => string)>;

/** Queue group of the agents that share the `staging` subject. */
export const stagingQueueGroup = 'staging';

/** Version of the protocol that this agent speaks. */
export const protocolVersion = '0.0.1';

/** A message lacks a field or has one of the wrong type; `problems` has a line per field. */
export class InvalidMessageError extends Error {
  constructor(
    readonly subject: string,
    readonly problems: string[],
  ) {
    super(`invalid ${subject} message: ${problems.join('; ')}`);
  }
}

/** @throws InvalidMessageError that names each faulty field */
export function parseMessage<Schema extends z.ZodType>(
  subject: string,
  schema: Schema,
  payload: unknown,
): z.output<Schema> {
  const result = schema.safeParse(payload);
  if (result.success) return result.data;
  throw new InvalidMessageError(
    subject,
    result.error.issues.map((issue) => `${issue.path.map(String).join('.') || '(message)'}: ${issue.message}`),
  );
}

/** Lists in filters: null and `[]` mean no filter. */
const filterList = <Item extends z.ZodType>(item: Item) => z.array(item).nullish();

export const instanceStates = [
  'BORN',
  'STARTING',
  'RUNNING',
  'STOPPING',
  'STOPPED',
  'CRASHED',
  'RESUMING',
  'EVACUATING',
] as const;
export type InstanceState = (typeof instanceStates)[number];

const identifier = z.union([z.string(), z.number()]).transform(String);

/** The filters of `dea.stop` and `dea.find.droplet` (docs/protocol/dea.md §5.4); all given ones must hold. */
export const instanceFilterSchema = z.object({
  droplet: identifier,
  version: z.string().nullish(),
  instances: filterList(z.string()),
  instance_ids: filterList(z.string()),
  indices: filterList(z.int()),
  states: filterList(z.string().toUpperCase().pipe(z.enum(instanceStates))),
});
export type InstanceFilter = z.output<typeof instanceFilterSchema>;

/** `path` counts by its presence, so it must survive parsing as absent or as null. */
export const findDropletSchema = instanceFilterSchema.extend({
  path: z.unknown().optional(),
  include_stats: z.unknown().optional().transform(Boolean),
});

export const updateSchema = z.object({
  droplet: identifier,
  uris: z
    .array(z.string())
    .nullish()
    .transform((uris) => uris ?? []),
  version: z.string().nullish(),
});

export const stagingStopSchema = z.object({ app_id: identifier });

/** Both of the router's messages, of which old agents used the advised interval (docs/protocol/dea.md §22). */
export const routerStartSchema = z.object({
  // Routers forget after two minutes; and what they advise by mistake must not become a flood.
  minimumRegisterIntervalInSeconds: z
    .number()
    .positive()
    .transform((seconds) => Math.min(Math.max(seconds, 1), 3_600)),
});

const egressRuleSchema = z.looseObject({
  // What is none of them fails the start or staging, not the message (docs/protocol/dea.md §23.4).
  protocol: z.unknown().optional(),
  destination: z.unknown().optional(),
  ports: z.union([z.string(), z.int().transform(String)]).nullish(),
  type: z.int().nullish(),
  code: z.int().nullish(),
  log: z.boolean().nullish(),
});
export type EgressRule = z.output<typeof egressRuleSchema>;

export const egressRulesSchema = z
  .array(egressRuleSchema)
  .nullish()
  .transform((rules) => rules ?? []);

const adminBuildpackSchema = z.object({ key: z.string(), url: z.string() });

const environmentEntries = z
  .array(z.string())
  .nullish()
  .transform((entries) => entries ?? []);

export const serviceSchema = z.looseObject({
  name: z.string(),
  label: z.string(),
  credentials: z.unknown().refine((credentials) => credentials !== undefined, 'missing'),
  plan: z.string().nullish(),
  plan_option: z.string().nullish(),
  vendor: z.string().nullish(),
  version: z.string().nullish(),
  type: z.string().nullish(),
});
export type Service = z.output<typeof serviceSchema>;

/** The syslog drains among an app's services, for the logging agent beside this one. */
export function syslogDrainUrls(services: { [key: string]: unknown }[]): string[] {
  return services.map((service) => service.syslog_drain_url).filter((url): url is string => typeof url === 'string');
}

const stagingPropertiesSchema = z.looseObject({
  services: z
    .array(z.looseObject({ label: z.string() }))
    .nullish()
    .transform((services) => services ?? []),
  environment: environmentEntries,
  buildpack: z.string().nullish(),
  buildpack_git_url: z.string().nullish(),
  buildpack_key: z.string().nullish(),
  meta: z.looseObject({ command: z.string().nullish() }).nullish(),
});

/** `staging.<id>.start`, `staging` and `POST /v1/stage` (docs/protocol/dea.md §5.8). */
export const stagingMessageSchema = z.looseObject({
  app_id: identifier,
  task_id: identifier,
  stack: z.string().nullish(),
  properties: stagingPropertiesSchema,
  download_uri: z.string(),
  upload_uri: z.string().min(1),
  buildpack_cache_download_uri: z.string().nullish(),
  buildpack_cache_upload_uri: z.string().nullish(),
  start_message: z.looseObject({}).nullish(),
  admin_buildpacks: z
    .array(z.unknown())
    .nullish()
    .transform((entries) => (entries ?? []).flatMap((entry) => adminBuildpackSchema.safeParse(entry).data ?? [])),
  egress_network_rules: egressRulesSchema,
  memory_limit: z.number().positive().nullish(),
  disk_limit: z.number().positive().nullish(),
});
export type StagingMessage = z.output<typeof stagingMessageSchema>;

const stagingIdsSchema = z.object({ app_id: identifier, task_id: identifier });

/** The ids of a staging message that may otherwise be invalid; undefined when one of them is not there. */
export function stagingIdsOf(message: unknown): z.output<typeof stagingIdsSchema> | undefined {
  return stagingIdsSchema.safeParse(message).data;
}

export interface Advertisement {
  id: string;
  stacks: string[];
  available_memory: number;
  available_disk: number;
}

/** Who looks for an agent with room for an app (docs/protocol/dea.md §22). */
export const discoverSchema = z.looseObject({
  droplet: identifier,
  limits: z.looseObject({ mem: z.number().positive(), disk: z.number().positive() }),
});

/** A component as it tells of itself (docs/protocol/dea.md §22.3). */
export interface ComponentAnnouncement {
  type: 'DEA';
  index: number;
  uuid: string;
  host: string;
  credentials: [user: string, password: string];
  start: string;
}

/** `task_id` with what went wrong, as the reply to a staging message (docs/protocol/dea.md §5.8). */
export interface StagingFailure {
  task_id: string;
  error: string;
  app_id?: string;
}

/** The second reply: the task is over, well or with `error`. */
export interface StagingResult {
  task_id: string;
  detected_buildpack: string | null;
  buildpack_key: string | null;
  droplet_sha1: string | null;
  detected_start_command: string | null;
  procfile: Record<string, string> | null;
  app_id: string;
  error?: string;
  error_info?: { type: string; message: string };
}

export interface HeartbeatEntry {
  cc_partition: string;
  droplet: string;
  version: string;
  instance: string;
  index: number;
  state: InstanceState;
  state_timestamp: number;
}

/** `dea.heartbeat`, and the body of HM9000's `POST /dea/heartbeat`. */
export interface HeartbeatMessage {
  dea: string;
  droplets: HeartbeatEntry[];
}

export interface DropletExited {
  cc_partition: string;
  droplet: string;
  version: string;
  instance: string;
  index: number;
  /** All but CRASHED are of the legacy profile (docs/protocol/dea.md §5.7). */
  reason: 'CRASHED' | 'DEA_EVACUATION' | 'DEA_SHUTDOWN' | 'STOPPED';
  exit_status: number;
  exit_description: string;
  /** Unix seconds; of a crash only. */
  crash_timestamp?: number;
}

/** A route as the routers know it; unregistering uses the same shape. */
export interface RouteRegistration {
  dea?: string;
  app?: string;
  uris: string[];
  host: string;
  port: number | null;
  tags: Record<string, string>;
  private_instance_id?: string;
}

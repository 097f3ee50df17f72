import { z } from 'zod';

/** What runs an app: cells of the DEA kind, or Diego. */
export type Backend = 'dea' | 'diego';
export type AppState = 'STARTED' | 'STOPPED';
export type PackageState = 'PENDING' | 'STAGED' | 'FAILED';

/**
 * A service bound to an app. With a `label` other than `user-provided` it counts as managed, and `version`,
 * `provider` and `plan` go along (docs/protocol/legacy-cc.md §3).
 */
export const serviceBindingSchema = z.object({
  name: z.string().min(1),
  credentials: z.record(z.string(), z.unknown()),
  label: z.string().min(1).default('user-provided'),
  version: z.string().optional(),
  provider: z.string().optional(),
  plan: z.string().optional(),
  tags: z.array(z.string()).default([]),
  options: z.record(z.string(), z.unknown()).default({}),
  syslog_drain_url: z.string().nullish().default(null),
});
export type ServiceBinding = z.output<typeof serviceBindingSchema>;

/**
 * An app as the Cloud Controller keeps it and as its API shows it; names are those of docs/protocol/legacy-cc.md §12.
 * Memory and disk in MB, times in ISO 8601, the health check's limit in seconds.
 */
export interface App {
  /** Sequence number. */
  id: number;
  guid: string;
  name: string;
  version: string;
  state: AppState;
  package_state: PackageState;
  instances: number;
  memory: number;
  disk_quota: number;
  file_descriptors: number;
  stack: string;
  /** Name of an admin buildpack, URL of a git repository, or null for detection. */
  buildpack: string | null;
  command: string | null;
  env: Record<string, unknown>;
  /** `host.domain`, with the route's path if it has one. */
  routes: string[];
  services: ServiceBinding[];
  /** Whether it is Diego that stages and runs the app. */
  diego: boolean;
  health_check_type: 'port' | 'none';
  health_check_timeout: number | null;
  /** SHA-1 of the package; null before the first upload. */
  package_hash: string | null;
  /** SHA-1 of the newest droplet. */
  droplet_hash: string | null;
  /** The staging attempt whose replies count. */
  staging_task_id: string | null;
  staging_failed_reason: string | null;
  staging_failed_description: string | null;
  detected_buildpack: string | null;
  detected_start_command: string | null;
  execution_metadata: string | null;
  package_pending_since: string | null;
  created_at: string;
  updated_at: string;
}

/** What a client may set, checked for its shape; limits are the configuration's business. */
export const appChangeSchema = z
  .object({
    name: z.string().trim().min(1).max(255),
    state: z.enum(['STARTED', 'STOPPED']),
    instances: z.int().min(0).max(10_000),
    memory: z.int().positive(),
    disk_quota: z.int().positive(),
    file_descriptors: z.int().positive(),
    stack: z.string().min(1),
    buildpack: z
      .string()
      .nullable()
      .transform((buildpack) => buildpack || null),
    command: z
      .string()
      .max(4096)
      .nullable()
      .transform((command) => command || null),
    env: z.record(z.string().regex(/^[A-Za-z_]\w*$/, 'must be a name of a variable'), z.unknown()),
    routes: z.array(z.string().regex(/^[a-z0-9*_]([a-z0-9._-]*[a-z0-9])?(\/\S*)?$/i, 'must be host.domain[/path]')),
    services: z.array(serviceBindingSchema),
    diego: z.boolean(),
    health_check_type: z.enum(['port', 'none']),
    health_check_timeout: z.int().positive().nullable(),
  })
  .partial()
  .strict();
export type AppChange = z.output<typeof appChangeSchema>;

/** Whether the app has to be staged before instances can be started. */
export function needsStaging(app: App): boolean {
  return app.package_hash !== null && app.package_state !== 'STAGED' && app.state === 'STARTED' && app.instances > 0;
}

/** Whether instances of the app are meant to run now. */
export function isRunnable(app: App): boolean {
  return app.state === 'STARTED' && app.package_state === 'STAGED';
}

/** Indices from `first` up to, without, `end`. */
export function indexRange(first: number, end: number): number[] {
  return Array.from({ length: Math.max(0, end - first) }, (_unused, offset) => first + offset);
}

/** What stages and runs the app. */
export function backendOf({ diego }: Pick<App, 'diego'>): Backend {
  return diego ? 'diego' : 'dea';
}

import { z } from 'zod';
import { durationSeconds } from '../config/duration.js';
import { loadConfig, parseConfig } from '../config/load.js';
import { stenoLevels } from '../logging/steno.js';
import { balancingAlgorithms } from './messages.js';

const port = z.int().min(0).max(65_535);
const positiveSeconds = durationSeconds.refine((seconds) => seconds > 0, 'must be more than 0');

/** Keys of `router.yml`; those of gorouter have its names (docs/protocol/edge.md §1). */
export const routerConfigSchema = z
  .object({
    ip: z.string().min(1).default('0.0.0.0'),
    port: port.default(8080),
    index: z.int().min(0).default(0),
    nats_servers: z.array(z.string().min(1)).min(1).optional(),
    nats: z
      .array(
        z.object({
          host: z.string().min(1),
          port: port.default(4222),
          user: z.string().optional(),
          pass: z.string().optional(),
        }),
      )
      .optional(),
    status: z.object({ port: port.default(8082), user: z.string().min(1), pass: z.string().min(1) }).optional(),
    healthcheck_user_agent: z.string().min(1).default('HTTP-Monitor/1.1'),
    start_response_delay_interval: durationSeconds.default(5),
    prune_stale_droplets_interval: positiveSeconds.default(30),
    droplet_stale_threshold: positiveSeconds.default(120),
    suspend_pruning_if_nats_unavailable: z.boolean().default(false),
    routing_table_sharding_mode: z.enum(['all', 'segments', 'shared-and-segments']).default('all'),
    isolation_segments: z.array(z.string()).default([]),
    empty_pool_response_code_503: z.boolean().default(false),
    empty_pool_timeout: durationSeconds.default(10),
    balancing_algorithm: z.enum(balancingAlgorithms).default('round-robin'),
    backends: z
      .object({ max_attempts: z.int().positive().default(3), max_conns: z.int().min(0).default(500) })
      .prefault({}),
    endpoint_timeout: positiveSeconds.default(900),
    endpoint_dial_timeout: positiveSeconds.default(5),
    tls_handshake_timeout: positiveSeconds.default(10),
    ca_certs: z.union([z.string(), z.array(z.string())]).optional(),
    frontend_idle_timeout: positiveSeconds.default(900),
    drain_timeout: durationSeconds.default(2),
    max_header_bytes: z
      .int()
      .positive()
      .default(1024 * 1024),
    sticky_session_cookie_names: z.array(z.string().min(1)).default(['JSESSIONID']),
    secure_cookies: z.boolean().default(false),
    sanitize_forwarded_proto: z.boolean().default(false),
    force_forwarded_proto_https: z.boolean().default(false),
    forwarded_client_cert: z.enum(['always_forward', 'forward', 'sanitize_set']).default('always_forward'),
    trace_key: z.string().optional(),
    access_log: z.object({ file: z.string().min(1).optional() }).prefault({}),
    logging: z.object({ level: z.enum(stenoLevels).default('info'), file: z.string().optional() }).prefault({}),
  })
  .superRefine((config, context) => {
    if (config.nats_servers || config.nats?.length) return;
    context.addIssue({ code: 'custom', path: ['nats_servers'], message: 'missing key' });
  });

/** The whole configuration with all defaults in place; times in seconds. */
export type RouterConfig = z.output<typeof routerConfigSchema>;
/** What a caller has to give; everything else has a default. */
export type RouterConfigInput = z.input<typeof routerConfigSchema>;

/** @throws ConfigFileError, ConfigError */
export function loadRouterConfig(path: string): RouterConfig {
  return loadConfig(path, routerConfigSchema);
}

/** Completes a configuration made in the program. @throws ConfigError */
export function completeRouterConfig(config: RouterConfigInput): RouterConfig {
  return parseConfig('router configuration', config, routerConfigSchema);
}

/** The NATS servers, whichever key named them. */
export function natsServers(config: RouterConfig): string[] {
  if (config.nats_servers) return config.nats_servers;
  return config.nats!.map(({ host, port: natsPort, user, pass }) => {
    const credentials = user ? `${encodeURIComponent(user)}:${encodeURIComponent(pass ?? '')}@` : '';
    return `nats://${credentials}${host}:${natsPort}`;
  });
}

/** Whether this router takes routes of that isolation segment; empty: of none (docs/protocol/edge.md §1.4). */
export function takesSegment(
  { routing_table_sharding_mode: mode, isolation_segments: segments }: RouterConfig,
  segment: string,
): boolean {
  if (mode === 'all') return true;
  if (segment === '') return mode === 'shared-and-segments';
  return segments.includes(segment);
}

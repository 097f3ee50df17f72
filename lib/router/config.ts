import { z } from 'zod';
import { loadConfig, parseConfig } from '../config/load.js';
import { stenoLevels } from '../logging/steno.js';

const port = z.int().min(0).max(65535);

/** Keys of `router.yml`; those of gorouter have its names (docs/protocol/edge.md §1). */
export const routerConfigSchema = z
  .object({
    ip: z.string().default('0.0.0.0'),
    port: port.default(8080),
    index: z.int().min(0).default(0),
    nats_servers: z.array(z.string()).min(1).optional(),
    nats: z
      .array(
        z.object({
          host: z.string(),
          port: port.default(4222),
          user: z.string().optional(),
          pass: z.string().optional(),
        }),
      )
      .optional(),
    status: z.object({ port, user: z.string().min(1), pass: z.string().min(1) }).optional(),
    healthcheck_user_agent: z.string().default('HTTP-Monitor/1.1'),
    start_response_delay_interval: z.number().min(0).default(5),
    prune_stale_droplets_interval: z.number().positive().default(30),
    droplet_stale_threshold: z.number().positive().default(120),
    suspend_pruning_if_nats_unavailable: z.boolean().default(false),
    endpoint_timeout: z.number().positive().default(60),
    endpoint_dial_timeout: z.number().positive().default(5),
    max_attempts: z.int().positive().default(3),
    ca_certs: z.string().optional(),
    access_log: z.object({ file: z.string().optional() }).prefault({}),
    logging: z.object({ level: z.enum(stenoLevels).default('info'), file: z.string().optional() }).prefault({}),
  })
  .superRefine((config, context) => {
    if (config.nats_servers || config.nats?.length) return;
    context.addIssue({ code: 'custom', path: ['nats_servers'], message: 'missing key' });
  });

export type RouterConfig = z.output<typeof routerConfigSchema>;

/** @throws ConfigFileError, ConfigError */
export function loadRouterConfig(path: string): RouterConfig {
  return loadConfig(path, routerConfigSchema);
}

/** Completes a configuration made in the program. @throws ConfigError */
export function completeRouterConfig(config: z.input<typeof routerConfigSchema>): RouterConfig {
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

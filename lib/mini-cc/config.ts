import { z } from 'zod';
import { loadConfig, parseConfig } from '../config/load.js';
import { isLoopback } from '../http/loopback.js';

const seconds = z.number().positive();
const positiveInt = z.int().positive();
const megabytes = positiveInt;

const credentials = z.object({ user: z.string().min(1), password: z.string().min(1) });

/** Of an API that other components use; the names are those of a real Cloud Controller. */
const apiCredentials = z.object({ auth_user: z.string().min(1), auth_password: z.string().min(1) }).optional();

const httpUrl = z.url({ protocol: /^https?$/, error: 'must be an http or https URL' });

const egressRule = z.object({
  protocol: z.enum(['tcp', 'udp', 'icmp', 'all']),
  destination: z.string(),
  ports: z.string().optional(),
  type: z.int().optional(),
  code: z.int().optional(),
  log: z.boolean().optional(),
});

const environmentVariables = z.record(z.string(), z.unknown()).default({});

/** Where a CC-bridge is found: all of them, or there is none. */
export const bridgeKeys = ['diego_nsync_url', 'diego_stager_url', 'diego_tps_url'] as const;

/** Keys of `mini-cc.yml`; those of a real Cloud Controller have its names (docs/protocol/legacy-cc.md §12). */
export const miniCcConfigSchema = z
  .object({
    data_directory: z.string().min(1),
    index: z.int().min(0).default(0),
    bind_address: z.string().default('127.0.0.1'),
    external_port: z.int().min(0).max(65_535).default(8181),
    external_protocol: z.enum(['http', 'https']).default('http'),
    external_domain: z.string().optional(),
    advertised_host: z.string().optional(),
    domain: z.string().default('localhost'),
    router_url: z.url().optional(),
    message_bus_servers: z.array(z.string().min(1)).min(1),
    cc_partition: z.string().default('default'),
    client_token: z.string().min(16, 'must have at least 16 characters').optional(),
    loggregator: z
      .object({
        bind_address: z.string().default('127.0.0.1'),
        port: z.int().min(0).max(65_535).default(3457),
        shared_secret: z.string().min(1).optional(),
        kept_lines: positiveInt.default(100),
      })
      .prefault({}),
    test_double: z.boolean().default(false),
    write_target_file: z.boolean().default(true),
    staging: z
      .object({
        timeout_in_seconds: seconds.default(900),
        minimum_staging_memory_mb: megabytes.default(1024),
        minimum_staging_disk_mb: megabytes.default(4096),
        minimum_staging_file_descriptor_limit: positiveInt.default(16_384),
        auth: credentials.optional(),
      })
      .prefault({}),
    bulk_api: apiCredentials,
    internal_api: apiCredentials,
    hm9000: z.object({ url: httpUrl.default('http://localhost:5155'), internal_url: httpUrl.optional() }).prefault({}),
    diego_nsync_url: httpUrl.optional(),
    diego_stager_url: httpUrl.optional(),
    diego_tps_url: httpUrl.optional(),
    default_to_diego_backend: z.boolean().default(false),
    users_can_select_backend: z.boolean().default(true),
    allow_app_ssh_access: z.boolean().default(true),
    migration_hold_seconds: z
      .int()
      .positive()
      .max(24 * 3600)
      .default(180),
    migration_check_interval_in_seconds: seconds.default(5),
    flapping_crash_count_threshold: positiveInt.default(3),
    pending_packages: z
      .object({
        frequency_in_seconds: seconds.default(300),
        expiration_in_seconds: seconds.default(1200),
      })
      .prefault({}),
    dea_client: z
      .object({ key_file: z.string().min(1), cert_file: z.string().min(1), ca_file: z.string().min(1) })
      .optional(),
    dea_advertisement_timeout_in_seconds: seconds.default(10),
    find_timeout_in_seconds: seconds.default(2),
    default_stack: z.string().default('bookworm'),
    default_app_memory: megabytes.default(256),
    default_app_disk_in_mb: megabytes.default(1024),
    maximum_app_disk_in_mb: megabytes.default(2048),
    instance_file_descriptor_limit: positiveInt.default(16_384),
    default_health_check_timeout: positiveInt.default(60),
    maximum_health_check_timeout: positiveInt.default(180),
    disable_custom_buildpacks: z.boolean().default(false),
    buildpacks: z.array(z.object({ name: z.string().min(1), path: z.string().min(1) })).default([]),
    running_environment_variables: environmentVariables,
    staging_environment_variables: environmentVariables,
    security_group_definitions: z.array(z.object({ name: z.string(), rules: z.array(egressRule) })).default([]),
    default_running_security_groups: z.array(z.string()).default([]),
    default_staging_security_groups: z.array(z.string()).default([]),
    maximum_package_size_mb: megabytes.default(1024),
    maximum_droplet_size_mb: megabytes.default(2048),
    maximum_buildpack_size_mb: megabytes.default(1024),
    logging: z
      .object({
        level: z.enum(['off', 'fatal', 'error', 'warn', 'info', 'debug', 'debug1', 'debug2', 'all']).default('info'),
        file: z.string().optional(),
      })
      .prefault({}),
  })
  .superRefine((config, context) => {
    const defined = new Set(config.security_group_definitions.map(({ name }) => name));
    for (const key of ['default_running_security_groups', 'default_staging_security_groups'] as const) {
      for (const [position, name] of config[key].entries()) {
        if (defined.has(name)) continue;
        context.addIssue({
          code: 'custom',
          path: [key, position],
          message: `is not among security_group_definitions: ${name}`,
        });
      }
    }
    const { bind_address: logAddress, shared_secret: secret } = config.loggregator;
    if (!isLoopback(logAddress) && secret === undefined) {
      context.addIssue({
        code: 'custom',
        path: ['loggregator', 'shared_secret'],
        message: 'must be there unless bind_address is on the loopback: anybody could write into the logs',
      });
    }
    if (config.test_double && !isLoopback(config.bind_address)) {
      context.addIssue({
        code: 'custom',
        path: ['test_double'],
        message: 'is for the loopback only; bind_address is not on it',
      });
    }
    if (config.migration_check_interval_in_seconds > config.migration_hold_seconds / 2) {
      context.addIssue({
        code: 'custom',
        path: ['migration_check_interval_in_seconds'],
        message: 'must be at most half of migration_hold_seconds: a hold would end before it is renewed',
      });
    }
    const missing = bridgeKeys.filter((key) => config[key] === undefined);
    if (config.default_to_diego_backend || missing.length < bridgeKeys.length) {
      for (const key of missing) {
        context.addIssue({
          code: 'custom',
          path: [key],
          message: 'is needed as well: apps of Diego are staged, run and watched',
        });
      }
    }
    if (config.default_app_disk_in_mb > config.maximum_app_disk_in_mb) {
      context.addIssue({
        code: 'custom',
        path: ['default_app_disk_in_mb'],
        message: 'must not be larger than maximum_app_disk_in_mb',
      });
    }
  });

/** The whole configuration with all defaults in place. */
export type MiniCcConfig = z.output<typeof miniCcConfigSchema>;
/** What a caller has to give; everything else has a default. */
export type MiniCcConfigInput = z.input<typeof miniCcConfigSchema>;

/** @throws ConfigFileError, ConfigError */
export function loadMiniCcConfig(path: string): MiniCcConfig {
  return loadConfig(path, miniCcConfigSchema);
}

/** Completes a configuration made in the program; @throws ConfigError */
export function completeMiniCcConfig(config: MiniCcConfigInput): MiniCcConfig {
  return parseConfig('mini-cc configuration', config, miniCcConfigSchema);
}

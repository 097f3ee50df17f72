import { existsSync } from 'node:fs';
import { z } from 'zod';
import { ConfigError, loadConfig } from '../config/load.js';
import { stenoLevels } from '../logging/steno.js';
import { parseRouterAddress } from '../loggregator/router-address.js';

const port = z.int().min(0).max(65535);
const network = z.cidrv4('must be an IPv4 network such as 10.254.0.0/22');
const positiveInt = z.int().positive();
/** Timers of more than 24 days end at once. */
const longestSeconds = Math.floor((2 ** 31 - 1) / 1000);
const factor = z.number().positive();
const certificateFiles = { key_file: z.string(), cert_file: z.string() };

const bandwidthLimit = z.object({ rate: positiveInt, burst: positiveInt });

const routerAddress = z.string().transform((text, context) => {
  const address = parseRouterAddress(text);
  if (!address) context.addIssue({ code: 'custom', message: 'must be host:port' });
  return address ?? z.NEVER;
});

/** Stack entries of old files are plain names; their root file system is the machine's default one. */
const stack = z.union([
  z.string().transform((name) => ({ name, package_path: defaultStackPath() })),
  z.object({ name: z.string(), package_path: z.string() }),
]);

/** The dialects of docs/protocol/dea.md §22; all of them are spoken unless the file says otherwise. */
export const legacyProtocols = [
  'dea.heartbeat',
  'healthmanager.start',
  'dea.start',
  'dea.status',
  'dea.locate',
  'staging.locate',
  'staging.advertise',
  'staging',
  'router.greet',
  'droplet.exited.evacuation',
  'vcap.component',
  'dea.discover',
  'droplet.status',
] as const;

/**
 * Dialects that are spoken only where the file names them: what agents of before December 2013 told on `droplet.exited`
 * contradicts what later Cloud Controllers expect of a stop.
 */
export const optionalLegacyProtocols = ['droplet.exited.shutdown', 'droplet.exited.stopped'] as const;
export type LegacyProtocol = (typeof legacyProtocols)[number] | (typeof optionalLegacyProtocols)[number];

const legacyProtocolList = z.union([
  z.literal('all').transform((): LegacyProtocol[] => [...legacyProtocols]),
  z.literal('none').transform((): LegacyProtocol[] => []),
  z.array(z.enum([...legacyProtocols, ...optionalLegacyProtocols])),
]);

/** Keys of older files that have no meaning any more; accepted, so that those files load as they stand. */
const obsolete = z.unknown().optional();

const httpUrl = z.url({ protocol: /^https?$/, error: 'must be an http or https URL' });

/** Before March 2016 the section held only a `uri`, of which agents did not make use. */
const hm9000 = z.preprocess(
  (value) => (isOldHm9000(value) ? undefined : value),
  z.object({ listener_uri: httpUrl, ca_file: z.string(), ...certificateFiles, uri: obsolete }).optional(),
);

function isOldHm9000(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'uri' in value && !('listener_uri' in value);
}

/** `dea.yml`: keys, types and defaults of docs/protocol/dea.md §2; every leaf has its own default. */
export const deaConfigSchema = z
  .object({
    base_dir: z.string().startsWith('/', 'must be an absolute path'),
    pid_filename: z.string(),
    index: z.int().min(0),
    nats_servers: z.array(z.string()).min(1).optional(),
    nats_uri: z.string().optional(),
    warden_socket: z.string().optional(),
    domain: z.string().default('localhost'),
    local_ip: z.string().optional(),
    service_name: z.string().optional(),
    cc_url: httpUrl.optional(),
    only_production_apps: obsolete,
    runtimes: obsolete,
    dea_ruby: z.string().optional(),
    post_setup_hook: z.string().optional(),
    legacy_protocols: legacyProtocolList.prefault('all'),
    logging: z.object({
      level: z.enum(stenoLevels),
      file: z.string().optional(),
      syslog: z.string().optional(),
    }),
    loggregator: z
      .object({
        router: routerAddress.optional(),
        shared_secret: z.string().min(1).optional(),
        emit_app_output: z.boolean().default(true),
      })
      .prefault({}),
    directory_server: z.object({
      protocol: z.enum(['http', 'https']).default('http'),
      v2_port: port,
      file_api_port: port,
      v1_port: port.optional(),
      url_port: port.optional(),
      external: z.boolean().default(false),
      address: z.string().default('0.0.0.0'),
      streaming_timeout: z.int().min(0).max(longestSeconds).default(0),
      logging: z
        .object({
          level: z.enum(stenoLevels).default('info'),
          file: z.string().optional(),
          syslog: z.string().optional(),
        })
        .prefault({}),
    }),
    stacks: z.array(stack).default([]),
    placement_properties: z.object({ zone: z.string().default('default') }).prefault({}),
    hm9000,
    ssl: z.object({ port, ca_file: z.string().optional(), ...certificateFiles }).optional(),
    intervals: z
      .object({
        router_register_in_seconds: z
          .number()
          .positive('Invalid router register interval')
          .max(longestSeconds)
          .default(20),
        heartbeat: positiveInt.max(longestSeconds).default(10),
        advertise: z.number().positive().max(longestSeconds).default(5),
      })
      .prefault({}),
    status: z
      .object({ user: z.string().optional(), port: port.optional(), password: z.string().optional() })
      .prefault({}),
    resources: z
      .object({
        memory_mb: positiveInt.default(8192),
        memory_overcommit_factor: factor.default(1),
        disk_mb: positiveInt.default(16 * 1024 * 1024),
        disk_overcommit_factor: factor.default(1),
      })
      .prefault({}),
    bind_mounts: z
      .array(
        z.object({ src_path: z.string(), dst_path: z.string().optional(), mode: z.enum(['ro', 'rw']).default('ro') }),
      )
      .default([]),
    hooks: z
      .object({
        before_start: z.string().optional(),
        after_start: z.string().optional(),
        before_stop: z.string().optional(),
        after_stop: z.string().optional(),
      })
      .prefault({}),
    crash_lifetime_secs: positiveInt.default(3600),
    crash_block_usage_ratio_threshold: z.number().min(0).max(1).default(0.8),
    crash_inode_usage_ratio_threshold: z.number().min(0).max(1).default(0.8),
    evacuation_bail_out_time_in_seconds: positiveInt.optional(),
    evacuation_delay_secs: positiveInt.optional(),
    default_health_check_timeout: positiveInt.optional(),
    maximum_health_check_timeout: positiveInt.optional(),
    instance: z
      .object({
        memory_to_cpu_share_ratio: positiveInt.default(8),
        max_cpu_share_limit: positiveInt.default(256),
        min_cpu_share_limit: positiveInt.default(1),
        cpu_limit_shares: obsolete,
        disk_inode_limit: positiveInt.default(200_000),
        nproc_limit: positiveInt.default(512),
        bandwidth_limit: bandwidthLimit.optional(),
        drain_delay_secs: z.number().min(0).max(60).default(0),
        stuck_stop_secs: positiveInt.default(60),
        health_check_interval_secs: z.number().min(0).max(longestSeconds).default(0),
        superseded_after_secs: z.number().min(0).default(0),
      })
      .prefault({}),
    staging: z
      .object({
        enabled: z.boolean().default(false),
        max_staging_duration: z.number().positive().max(longestSeconds).default(900),
        environment: z.record(z.string(), z.unknown()).optional(),
        platform_config: obsolete,
        memory_limit_mb: positiveInt.default(1024),
        disk_limit_mb: positiveInt.default(2048),
        disk_inode_limit: positiveInt.default(200_000),
        cpu_limit_shares: positiveInt.default(512),
        nproc_limit: positiveInt.default(2048),
        bandwidth_limit: bandwidthLimit.optional(),
        fail_on_cache_upload_error: z.boolean().default(false),
      })
      .prefault({}),
    containers: z
      .object({
        engine: z.enum(['oci', 'process', 'garden', 'warden']).optional(),
        runtime: z.enum(['auto', 'crun', 'runc']).default('auto'),
        disk_quota_driver: z.enum(['auto', 'xfs-prj', 'ext4-prj', 'loop-image', 'none']).default('auto'),
        depot_dir: z.string().startsWith('/', 'must be an absolute path').optional(),
        network_pool: network.default('10.254.0.0/22'),
        port_pool_start: port.default(61001),
        port_pool_size: positiveInt.default(4534),
        spares: z.int().min(0).default(10),
        allow_host_access: z.boolean().default(false),
        deny_networks: z.array(network).default([]),
        allow_networks: z.array(network).default([]),
        garden_address: z
          .string()
          .regex(/^(\/.+|[^/]+:\d{1,5})$/, 'must be the path of a socket or host:port')
          .default('/tmp/garden.sock'),
      })
      .prefault({}),
  })
  .superRefine((config, context) => {
    if (config.nats_servers === undefined && config.nats_uri === undefined) {
      context.addIssue({ code: 'custom', path: ['nats_servers'], message: 'missing key' });
    }
    if (config.instance.min_cpu_share_limit > config.instance.max_cpu_share_limit) {
      context.addIssue({
        code: 'custom',
        path: ['instance', 'min_cpu_share_limit'],
        message: 'must not be larger than instance.max_cpu_share_limit',
      });
    }
    // Heartbeats have to go somewhere: over NATS in the legacy profile, else over HTTPS.
    if (!config.legacy_protocols.includes('dea.heartbeat') && config.hm9000 === undefined) {
      context.addIssue({ code: 'custom', path: ['hm9000'], message: 'missing key' });
    }
  });

export type DeaConfig = z.output<typeof deaConfigSchema>;
export type EngineKind = NonNullable<DeaConfig['containers']['engine']>;

/** Where `bin/setup` puts the default root file system. */
export function defaultStackPath(): string {
  return process.env.ISTHMUS_STACK ?? '/var/lib/isthmus/stacks/bookworm';
}

/**
 * Reads `dea.yml` and checks what it names.
 * @throws ConfigFileError, ConfigError with the full key path of each fault
 */
export function loadDeaConfig(path: string): DeaConfig {
  const config = loadConfig(path, deaConfigSchema);
  requireFiles(path, 'Invalid HM9000 Certs', [
    config.hm9000?.key_file,
    config.hm9000?.cert_file,
    config.hm9000?.ca_file,
  ]);
  requireFiles(path, 'Invalid SSL Certs', [config.ssl?.key_file, config.ssl?.cert_file, config.ssl?.ca_file]);
  return config;
}

function requireFiles(path: string, fault: string, files: (string | undefined)[]): void {
  const missing = files.filter((file): file is string => file !== undefined && !existsSync(file));
  if (missing.length > 0) {
    throw new ConfigError(path, [`${fault}: One or more files not found: ${missing.join(', ')}`]);
  }
}

/** The NATS servers, whichever key named them. */
export function natsServers(config: DeaConfig): string[] {
  return config.nats_servers ?? [config.nats_uri!];
}

/** The engine that the file asks for, or the one that fits the machine. */
export function engineKind(config: DeaConfig): EngineKind {
  if (config.containers.engine) return config.containers.engine;
  if (config.warden_socket) return 'warden';
  return process.platform === 'linux' && process.getuid?.() === 0 ? 'oci' : 'process';
}

/** Seconds that an app may take until it listens, when the app itself gives none. */
export function defaultHealthCheckTimeout(config: DeaConfig): number {
  return config.default_health_check_timeout ?? config.maximum_health_check_timeout ?? 60;
}

import { existsSync } from 'node:fs';
import { z } from 'zod';
import { ConfigError, loadConfig } from '../config/load.js';
import { stenoLevels } from '../logging/steno.js';

const port = z.int().min(0).max(65535);
const positiveInt = z.int().positive();
const factor = z.number().positive();
const certificateFiles = { key_file: z.string(), cert_file: z.string() };

const bandwidthLimit = z.object({ rate: positiveInt, burst: positiveInt });

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
] as const;
export type LegacyProtocol = (typeof legacyProtocols)[number];

const legacyProtocolList = z.union([
  z.literal('all').transform((): LegacyProtocol[] => [...legacyProtocols]),
  z.literal('none').transform((): LegacyProtocol[] => []),
  z.array(z.enum(legacyProtocols)),
]);

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
    cc_url: z.string().optional(),
    dea_ruby: z.string().optional(),
    post_setup_hook: z.string().optional(),
    legacy_protocols: legacyProtocolList.prefault('all'),
    logging: z.object({
      level: z.enum(stenoLevels),
      file: z.string().optional(),
      syslog: z.string().optional(),
    }),
    loggregator: z.object({ router: z.string().optional() }).prefault({}),
    directory_server: z.object({
      protocol: z.enum(['http', 'https']).default('http'),
      v2_port: port,
      file_api_port: port,
      v1_port: port.optional(),
      url_port: port.optional(),
      external: z.boolean().default(false),
      address: z.string().default('0.0.0.0'),
      streaming_timeout: z.int().min(0).default(0),
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
    hm9000: z.object({ listener_uri: z.string(), ca_file: z.string(), ...certificateFiles }).optional(),
    ssl: z.object({ port, ca_file: z.string().optional(), ...certificateFiles }).optional(),
    intervals: z
      .object({
        router_register_in_seconds: z.number().positive('Invalid router register interval').default(20),
        heartbeat: positiveInt.default(10),
        advertise: z.number().positive().default(5),
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
    evacuation_bail_out_time_in_seconds: positiveInt.default(600),
    evacuation_delay_secs: positiveInt.optional(),
    default_health_check_timeout: positiveInt.optional(),
    maximum_health_check_timeout: positiveInt.optional(),
    instance: z
      .object({
        memory_to_cpu_share_ratio: positiveInt.default(8),
        max_cpu_share_limit: positiveInt.default(256),
        min_cpu_share_limit: positiveInt.default(1),
        disk_inode_limit: positiveInt.default(200_000),
        nproc_limit: positiveInt.default(512),
        bandwidth_limit: bandwidthLimit.optional(),
      })
      .prefault({}),
    staging: z
      .object({
        enabled: z.boolean().default(false),
        max_staging_duration: z.number().positive().default(900),
        environment: z.record(z.string(), z.unknown()).optional(),
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
        depot_dir: z.string().startsWith('/', 'must be an absolute path').optional(),
        network_pool: z.cidrv4('must be an IPv4 network such as 10.254.0.0/22').default('10.254.0.0/22'),
        port_pool_start: port.default(61001),
        port_pool_size: positiveInt.default(4534),
        spares: z.int().min(0).default(10),
        allow_host_access: z.boolean().default(false),
        deny_networks: z.array(z.string()).default([]),
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

/** Keys that the file gives and this version checks but does not act on (docs/limits.md): nobody should rely on them. */
export function unusedKeys(config: DeaConfig): string[] {
  const given: Record<string, unknown> = {
    ssl: config.ssl,
    hm9000: config.hm9000,
    cc_url: config.cc_url,
    'loggregator.router': config.loggregator.router,
    'logging.syslog': config.logging.syslog,
  };
  return Object.keys(given).filter((key) => given[key] !== undefined);
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

import { z } from 'zod';
import { allowedClients } from '../config/allowed-clients.js';
import { durationSeconds } from '../config/duration.js';
import { loadConfig } from '../config/load.js';
import { isLoopback } from '../http/loopback.js';

const path = z.string();
const positive = z.int().positive();

/** `host:port`, as Go programs listen. */
const address = z.string().transform((text, context) => {
  const [, host = '', port = ''] = /^(.*):(\d+)$/.exec(text) ?? [];
  if (port !== '' && Number(port) <= 65_535)
    return { host: host.replace(/^\[|\]$/g, '') || '0.0.0.0', port: Number(port) };
  context.addIssue({ code: 'custom', message: 'expected host:port' });
  return z.NEVER;
});

const driver = z.enum(['sqlite3', 'mysql', 'postgres'], { error: 'must be sqlite3, mysql or postgres' });

/** Keys that stand in upstream's files, and mean nothing here. */
const unusedNames = [
  ...['advertise_url', 'debug_address', 'debug_lrp_start_heartbeats', 'desired_lrp_creation_timeout', 'loggregator'],
  ...['max_data_string_length', 'max_database_connection_lifetime', 'max_idle_database_connections'],
  ...['rep_client_session_cache_size', 'rep_require_tls', 'session_name', 'time_format', 'update_workers'],
] as const;

const unused = Object.fromEntries(unusedNames.map((name) => [name, z.unknown().optional()])) as Record<
  (typeof unusedNames)[number],
  z.ZodOptional<z.ZodUnknown>
>;

/** `bbs.yml`: upstream's keys, meanings and units, and a few of our own (docs/protocol/bbs.md §17). */
export const bbsConfigSchema = z
  .object({
    ...unused,
    listen_address: address.default({ host: '0.0.0.0', port: 8889 }),
    health_address: address.default({ host: '127.0.0.1', port: 8890 }),
    uuid: z.string().min(1),

    require_ssl: z.boolean().default(true),
    ca_file: path.default(''),
    cert_file: path.default(''),
    key_file: path.default(''),
    allowed_clients: allowedClients.optional(),

    database_driver: driver,
    database_connection_string: z.string().min(1),
    max_open_database_connections: positive.default(200),
    // It bounds calls of Locket, too: 0 would let all of them fail (docs/protocol/bbs.md §24).
    db_connection_timeout: durationSeconds.default(10).transform((seconds) => seconds || 10),
    db_read_timeout: durationSeconds.default(60),
    db_write_timeout: durationSeconds.default(60),
    sql_ca_cert_file: path.default(''),
    sql_enable_identity_verification: z.boolean().default(false),
    active_key_label: z.string().min(1),
    encryption_keys: z.record(z.string().min(1).max(127), z.string().min(1)),
    enable_db_health_check: z.boolean().default(false),
    health_check_timeout: durationSeconds.default(5),
    health_check_interval: durationSeconds.default(10),
    health_check_failure_threshold: positive.default(3),

    auctioneer_address: z.url({ protocol: /^https?$/, error: 'must be an http or https URL' }),
    auctioneer_ca_cert: path.default(''),
    auctioneer_client_cert: path.default(''),
    auctioneer_client_key: path.default(''),
    auctioneer_require_tls: z.boolean().default(false),
    rep_ca_cert: path.default(''),
    rep_client_cert: path.default(''),
    rep_client_key: path.default(''),
    communication_timeout: durationSeconds.default(10),

    locket_address: z.string().default(''),
    locket_ca_cert_file: path.default(''),
    locket_client_cert_file: path.default(''),
    locket_client_key_file: path.default(''),
    locket_client_keepalive_time: z.number().min(0).default(10),
    locket_client_keepalive_timeout: z.number().min(0).default(22),
    lock_ttl: durationSeconds.default(15),
    lock_retry_interval: durationSeconds.default(5),
    embedded_locket_address: address.optional(),

    converge_repeat_interval: durationSeconds.default(30),
    presence_watch_interval: durationSeconds.default(5),
    kick_task_duration: durationSeconds.default(30),
    expire_completed_task_duration: durationSeconds.default(120),
    expire_pending_task_duration: durationSeconds.default(1800),
    convergence_workers: positive.default(100),
    task_callback_workers: positive.default(1000),
    max_task_retries: z.int().min(0).default(3),

    report_interval: durationSeconds.default(60),
    access_log_path: path.default(''),
    advanced_metrics: z
      .object({
        enabled: z.boolean().default(false),
        route_config: z
          .object({
            request_count: z.array(z.string()).default([]),
            request_latency: z.array(z.string()).default([]),
          })
          .prefault({}),
      })
      .prefault({}),
    dropsonde_port: z.int().min(0).max(65_535).default(0),
    log_level: z
      .enum(['debug', 'info', 'error', 'fatal', ''], { error: 'must be debug, info, error or fatal' })
      .default('info')
      .transform((level) => level || 'info'),
    log_file: z.string().optional(),

    serve_removed_routes: z.boolean().default(false),
    max_request_bytes: positive.default(64 * 1024 * 1024),
    max_event_streams: positive.default(10_000),
    max_event_stream_bytes: positive.default(4 * 1024 * 1024),
    event_heartbeat_interval: durationSeconds.default(20),
    max_instances_per_desired_lrp: positive.default(100_000),
  })
  .superRefine((config, context) => {
    const fault = (key: keyof typeof config, message: string) =>
      context.addIssue({ code: 'custom', path: [key], message });
    for (const key of ['ca_file', 'cert_file', 'key_file'] as const) {
      if (config.require_ssl && config[key] === '') fault(key, 'missing key (or require_ssl: false, on the loopback)');
    }
    if (!config.require_ssl && !isLoopback(config.listen_address.host)) {
      fault('require_ssl', 'must be true, unless listen_address is on the loopback');
    }
    if (config.allowed_clients && !config.require_ssl) fault('allowed_clients', 'needs require_ssl');
    if (!Object.hasOwn(config.encryption_keys, config.active_key_label)) {
      fault('active_key_label', 'is none of encryption_keys');
    }
    const identities = [
      ['auctioneer_ca_cert', 'auctioneer_client_cert', 'auctioneer_client_key'],
      ['rep_ca_cert', 'rep_client_cert', 'rep_client_key'],
      ['locket_ca_cert_file', 'locket_client_cert_file', 'locket_client_key_file'],
    ] as const;
    for (const keys of identities) {
      const missing = keys.filter((key) => config[key] === '');
      if (missing.length < keys.length) for (const key of missing) fault(key, 'missing key: the three go together');
    }
    if (config.locket_address !== '' && config.locket_ca_cert_file === '') fault('locket_ca_cert_file', 'missing key');
    if (config.locket_address !== '' && config.embedded_locket_address) {
      fault('embedded_locket_address', 'must not be there beside locket_address');
    }
    if (config.embedded_locket_address && config.ca_file === '') {
      fault('embedded_locket_address', 'needs ca_file, cert_file and key_file');
    }
  });

export type BbsConfig = z.output<typeof bbsConfigSchema>;

/** Keys of the file that are known, and of no effect. */
export function unusedKeys(config: BbsConfig): string[] {
  return unusedNames.filter((name) => config[name] !== undefined);
}

/** @throws ConfigFileError, ConfigError */
export function loadBbsConfig(configPath: string): BbsConfig {
  return loadConfig(configPath, bbsConfigSchema);
}

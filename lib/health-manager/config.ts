import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { loadConfig } from '../config/load.js';
import type { AnalysisSettings } from './decisions/analysis.js';
import type { StoreTimes } from './store/health-store.js';

const port = z.int().min(0).max(65_535);
const heartbeats = z.int().positive();
const seconds = z.int().positive();
const url = z.union([z.literal(''), z.url({ protocol: /^https?$/, error: 'must be an http or https URL' })]);
const tlsFiles = z.object({ key_file: z.string(), cert_file: z.string(), ca_file: z.string() });

const natsServer = z.object({
  host: z.string().min(1),
  port: port.default(4222),
  user: z.string().default(''),
  password: z.string().default(''),
});

/** Upstream's etcd is no choice here; the error says so. */
const storeType = z.enum(['memory', 'redis'], { error: 'must be memory or redis' });

const lockBackend = z.enum(['store', 'locket', 'none'], { error: 'must be store, locket or none' });

const locketKeys = [
  'locket_address',
  'locket_ca_cert_file',
  'locket_client_cert_file',
  'locket_client_key_file',
] as const;

/** `hm9000.yml`: upstream's keys, meanings and units, and a few of our own (docs/protocol/health-manager.md §12). */
export const healthManagerConfigSchema = z
  .object({
    heartbeat_period_in_seconds: seconds.default(10),
    heartbeat_ttl_in_heartbeats: heartbeats.default(3),
    actual_freshness_ttl_in_heartbeats: heartbeats.default(3),
    desired_freshness_ttl_in_heartbeats: heartbeats.default(12),
    grace_period_in_heartbeats: heartbeats.default(3),
    sender_polling_interval_in_heartbeats: heartbeats.default(1),
    sender_timeout_in_heartbeats: heartbeats.default(10),
    sender_message_limit: z.int().positive().default(60),
    sender_nats_start_subject: z.string().min(1).default('hm9000.start'),
    sender_nats_stop_subject: z.string().min(1).default('hm9000.stop'),
    sender_transport: z.enum(['auto', 'nats', 'http']).default('auto'),
    fetcher_polling_interval_in_heartbeats: heartbeats.default(6),
    fetcher_timeout_in_heartbeats: heartbeats.default(60),
    fetcher_network_timeout_in_seconds: z.int().min(0).default(10),
    analyzer_polling_interval_in_heartbeats: heartbeats.default(1),
    analyzer_timeout_in_heartbeats: heartbeats.default(10),
    shredder_polling_interval_in_heartbeats: heartbeats.default(360),
    shredder_timeout_in_heartbeats: heartbeats.default(6),
    listener_heartbeat_sync_interval_in_milliseconds: z.int().positive().default(1000),
    number_of_crashes_before_backoff_begins: z.int().min(0).default(3),
    starting_backoff_delay_in_heartbeats: heartbeats.default(3),
    maximum_backoff_delay_in_heartbeats: heartbeats.default(96),
    store_type: storeType.default('memory'),
    store_urls: z.array(z.string().min(1)).default([]),
    store_prefix: z.string().min(1).default('{hm}:v1:'),
    lock_backend: lockBackend.default('store'),
    locket_address: z.string().default(''),
    locket_ca_cert_file: z.string().default(''),
    locket_client_cert_file: z.string().default(''),
    locket_client_key_file: z.string().default(''),
    snapshot_file: z.string().default(''),
    cc_base_url: url.default(''),
    cc_internal_url: url.default(''),
    cc_auth_user: z.string().default(''),
    cc_auth_password: z.string().default(''),
    cc_partition: z.string().default(''),
    desired_state_batch_size: z.int().positive().default(500),
    skip_cert_verify: z.boolean().default(false),
    nats: z.array(natsServer).min(1),
    http_heartbeat_server_address: z.string().default('0.0.0.0'),
    http_heartbeat_port: port.default(5335),
    ssl: tlsFiles.optional(),
    api_server_address: z.string().default('0.0.0.0'),
    api_server_port: port.default(5155),
    api_server_url: url.default(''),
    api_server_username: z.string().min(1),
    api_server_password: z.string().min(1),
    metrics_server_port: port.default(7879),
    metrics_server_user: z.string().default(''),
    metrics_server_password: z.string().default(''),
    dropsonde_port: port.default(0),
    log_level: z
      .enum(['INFO', 'DEBUG', ''], { error: 'Invalid log level in config: must be INFO or DEBUG' })
      .default('INFO'),
    log_file: z.string().optional(),
    local_ip: z.string().optional(),
    fresh_on_advertise: z.boolean().default(false),
    legacy_health_subjects: z.boolean().default(false),
    max_starts_per_second: z.number().min(0).default(0),
    version_change_hold_seconds: z.int().min(0).default(0),
    migration_hold_seconds: seconds.default(180),
    mass_stop_guard: z.boolean().default(true),
  })
  .superRefine((config, context) => {
    const fault = (key: keyof typeof config, message: string) =>
      context.addIssue({ code: 'custom', path: [key], message });
    if (config.maximum_backoff_delay_in_heartbeats < config.starting_backoff_delay_in_heartbeats) {
      fault('maximum_backoff_delay_in_heartbeats', 'must not be less than starting_backoff_delay_in_heartbeats');
    }
    if (config.store_type === 'redis' && config.store_urls.length === 0) fault('store_urls', 'missing key');
    if (config.cc_base_url === '') fault('cc_base_url', 'missing key');
    if (config.cc_auth_user === '' && config.cc_partition === '') fault('cc_auth_user', 'missing key');
    if (config.legacy_health_subjects && config.sender_transport === 'http') {
      fault('legacy_health_subjects', 'goes over NATS; sender_transport must not be http');
    }
    if (config.lock_backend === 'locket') {
      for (const key of locketKeys) if (config[key] === '') fault(key, 'missing key');
      if (config.store_type !== 'redis')
        fault('lock_backend', 'locket: needs store_type redis, which others can share');
    }
    if (config.sender_transport === 'http' && config.cc_internal_url === '') fault('cc_internal_url', 'missing key');
  });

export type HealthManagerConfig = z.output<typeof healthManagerConfigSchema>;

/** @throws ConfigFileError, ConfigError */
export function loadHealthManagerConfig(path: string): HealthManagerConfig {
  return loadConfig(path, healthManagerConfigSchema);
}

/** Key, certificate and authority of the heartbeat server. @throws when a file cannot be read */
export function heartbeatTls({ key_file, cert_file, ca_file }: NonNullable<HealthManagerConfig['ssl']>) {
  return { key: readFileSync(key_file), cert: readFileSync(cert_file), ca: readFileSync(ca_file) };
}

/** Addresses with their credentials, as the bus takes them. */
export function natsServers({ nats }: HealthManagerConfig): string[] {
  return nats.map(({ host, port: natsPort, user, password }) => {
    const credentials = user === '' ? '' : `${encodeURIComponent(user)}:${encodeURIComponent(password)}@`;
    return `nats://${credentials}${host}:${natsPort}`;
  });
}

/** Everything that counts heartbeats, in seconds. */
export function timesOf(config: HealthManagerConfig) {
  const inSeconds = (count: number) => count * config.heartbeat_period_in_seconds;
  const maximumDelay = inSeconds(config.maximum_backoff_delay_in_heartbeats);
  const store: StoreTimes = {
    heartbeatTtl: inSeconds(config.heartbeat_ttl_in_heartbeats),
    actualFreshnessTtl: inSeconds(config.actual_freshness_ttl_in_heartbeats),
    desiredFreshnessTtl: inSeconds(config.desired_freshness_ttl_in_heartbeats),
    crashCountTtl: 2 * maximumDelay,
  };
  const analysis: AnalysisSettings = {
    gracePeriod: inSeconds(config.grace_period_in_heartbeats),
    crashesBeforeBackoff: config.number_of_crashes_before_backoff_begins,
    startingDelay: inSeconds(config.starting_backoff_delay_in_heartbeats),
    maximumDelay,
  };
  return {
    store,
    analysis,
    slowSaveMs: config.heartbeat_period_in_seconds * 1000,
    fetching: {
      interval: inSeconds(config.fetcher_polling_interval_in_heartbeats),
      timeout: inSeconds(config.fetcher_timeout_in_heartbeats),
    },
    sending: { timeout: inSeconds(config.sender_timeout_in_heartbeats) },
    analyzing: {
      interval: inSeconds(config.analyzer_polling_interval_in_heartbeats),
      timeout: inSeconds(config.analyzer_timeout_in_heartbeats),
    },
    shredding: {
      interval: inSeconds(config.shredder_polling_interval_in_heartbeats),
      timeout: inSeconds(config.shredder_timeout_in_heartbeats),
    },
  };
}

import { z } from 'zod';
import { allowedClients } from '../config/allowed-clients.js';
import { durationSeconds } from '../config/duration.js';
import { loadConfig } from '../config/load.js';
import { flavours } from '../database/database.js';

const milliseconds = durationSeconds.transform((seconds) => seconds * 1000);
const positive = milliseconds.refine((value) => value > 0, 'must be longer than 0');
const highestPort = 65_535;

/** `host:port`, `[::1]:port`; without a host all addresses are meant, as with Go. */
const address = z.string().transform((text, context) => {
  const [, bracketed, plain, port] = /^(?:\[([^\]]*)\]|([^:]*)):(\d+)$/.exec(text) ?? [];
  const number = Number(port);
  if (port !== undefined && number <= highestPort) return { host: bracketed || plain || '0.0.0.0', port: number };
  context.addIssue({ code: 'custom', message: 'must be an address such as 0.0.0.0:8891' });
  return z.NEVER;
});

const redis = z
  .object({
    url: z.url({ protocol: /^rediss?$/, error: 'must be a redis or rediss URL' }).optional(),
    sentinels: z.array(address).min(1).optional(),
    master_name: z.string().min(1).optional(),
    password: z.string().optional(),
    prefix: z.string().min(1).default('{lk}:'),
    confirming_replicas: z.int().min(0).default(0),
    quarantine: milliseconds.default(15_000),
  })
  .superRefine(({ url, sentinels, master_name: name }, context) => {
    const fault = (key: string, message: string) => context.addIssue({ code: 'custom', path: [key], message });
    if ((url === undefined) === (sentinels === undefined)) fault('url', 'give either url or sentinels');
    if (sentinels && name === undefined) fault('master_name', 'missing key; sentinels know the primary by it');
  });

/** Upstream's of the v2 agent; read, and not used: figures go to a Metron of v1, and to who asks. */
const loggregator = z.record(z.string(), z.unknown());

/** Upstream's file, in JSON or YAML, and a few keys of ours (docs/protocol/edge.md §6.4). Durations come out in milliseconds. */
export const locketConfigSchema = z
  .object({
    listen_address: address.default({ host: '0.0.0.0', port: 8891 }),
    ca_file: z.string().min(1),
    cert_file: z.string().min(1),
    key_file: z.string().min(1),
    allowed_clients: allowedClients.optional(),
    database_driver: z.enum(flavours, { error: `must be ${flavours.join(', ')}` }).optional(),
    database_connection_string: z.string().min(1).optional(),
    max_open_database_connections: z.int().positive().default(200),
    max_database_connection_lifetime: milliseconds.default(3_600_000),
    db_operation_timeout: positive.default(10_000),
    enable_db_health_check: z.boolean().default(false),
    sql_ca_cert_file: z.string().optional(),
    sql_enable_identity_verification: z.boolean().default(false),
    redis: redis.optional(),
    data_directory: z.string().min(1).optional(),
    report_interval: positive.default(60_000),
    debug_address: address.optional(),
    dropsonde_port: z.int().min(0).max(highestPort).default(0),
    loggregator: loggregator.optional(),
    log_level: z
      .enum(['debug', 'info', 'error', 'fatal'], { error: 'must be debug, info, error or fatal' })
      .default('info'),
    log_file: z.string().min(1).optional(),
  })
  .superRefine((config, context) => {
    const fault = (key: keyof typeof config, message: string) =>
      context.addIssue({ code: 'custom', path: [key], message });
    const { database_driver: driver, database_connection_string: connection } = config;
    const stores = [driver, config.redis, config.data_directory].filter((store) => store !== undefined);
    if (stores.length === 0) fault('database_driver', 'missing key; or give redis or data_directory instead');
    if (stores.length > 1) fault('database_driver', 'give one of database_driver, redis and data_directory');
    if (driver !== undefined && connection === undefined) fault('database_connection_string', 'missing key');
    if (config.enable_db_health_check && driver === undefined) {
      fault('enable_db_health_check', 'needs database_driver');
    }
  });

export type LocketConfig = z.output<typeof locketConfigSchema>;

/** @throws ConfigFileError, ConfigError */
export function loadLocketConfig(path: string): LocketConfig {
  return loadConfig(path, locketConfigSchema);
}

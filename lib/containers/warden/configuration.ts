import { isIPv4 } from 'node:net';
import { z } from 'zod';
import { type StenoLevel, stenoLevels } from '../../logging/steno.js';
import { type RlimitSpec, rlimitNames } from '../engine.js';
import type { WardenServerOptions } from './server/warden-server.js';

/** What a Warden server's configuration says, in the words of this program. */
export interface WardenConfiguration {
  server: Omit<WardenServerOptions, 'engine' | 'logger'>;
  /** For the engine below it. */
  engine: {
    depotDirectory: string;
    /** CIDR that containers' /30 networks are taken from. */
    networkPool: string;
    /** Host ports that are handed out; absent: the engine's own choice. */
    portPool?: { start: number; size: number };
    /** All: what containers may reach, the server allows. */
    denyNetworks: string[];
    allowHostAccess: boolean;
    dnsServers: string[];
    /** Of the containers' links; absent: the engine's own choice. */
    mtu?: number;
    /** How long a released network rests before it is handed out again. */
    subnetRestMs: number;
  };
  logging: { level: StenoLevel; file?: string };
  /** TCP port on the loopback that tells of health. */
  healthPort: number;
  /** File that the number of the process is written to. */
  pidFile?: string;
}

const defaultNetworkPool = '10.254.0.0/24';
const defaultHealthPort = 2345;
const fewestPorts = 1000;
const networkBits = 2;

const port = z.int().min(1).max(65_535);
const rlimitsSchema = z.partialRecord(z.enum(rlimitNames), z.int().min(0));

/** `0777` is a decimal number to today's YAML: digits count as octal, as they are meant. */
const permissions = z.union([z.string(), z.int()]).transform((value, context) => {
  const digits = String(value).replace(/^0o?/, '');
  if (/^[0-7]{1,3}$/.test(digits)) return Number.parseInt(digits, 8);
  context.addIssue('must be octal permission bits, such as "0660"');
  return z.NEVER;
});

const network = z
  .object({
    pool_network: z.string().optional(),
    pool_start_address: z
      .string()
      .refine((text) => isIPv4(text), 'must be an IPv4 address')
      .optional(),
    pool_size: z.int().min(1).max(65_536).optional(),
    allow_networks: z.array(z.string()).nullish(),
    allow_host_access: z.boolean().default(false),
    /** Seconds. */
    release_delay: z.number().min(0).max(86_400).default(5),
    dns_servers: z.array(z.string()).nullish(),
    mtu: z.int().min(68).max(65_535).optional(),
  })
  .prefault({});

const ports = z
  .object({ pool_start_port: port.optional(), pool_size: z.int().optional() })
  .refine(
    ({ pool_size: size }) => size === undefined || size >= fewestPorts,
    `pool_size must be at least ${fewestPorts}`,
  )
  .prefault({});

/** The keys of docs/protocol/containers.md §1.7 that have an effect here; others are let pass. */
const schema = z.object({
  server: z.object({
    unix_domain_path: z.string().default('/tmp/warden.sock'),
    unix_domain_permissions: permissions.optional(),
    container_rootfs_path: z.string(),
    container_depot_path: z.string(),
    /** Seconds; null: containers are never reaped. */
    container_grace_time: z.number().min(0).nullable().default(300),
    container_rlimits: rlimitsSchema.nullish(),
    job_output_limit: z.int().min(1).optional(),
    quota: z.object({ disk_quota_enabled: z.boolean().default(true) }).prefault({}),
    syslog_socket: z.string().nullish(),
    pidfile: z.string().nullish(),
  }),
  network,
  port: ports,
  health_check_server: z.object({ port: port.default(defaultHealthPort) }).prefault({}),
  logging: z.object({ level: z.enum(stenoLevels).default('info'), file: z.string().nullish() }).prefault({}),
});

/**
 * Reads a Warden server's configuration, as its YAML file has it.
 *
 * @throws Error naming the key
 */
export function readWardenConfiguration(value: unknown): WardenConfiguration {
  const parsed = schema.safeParse(value);
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!;
    throw new Error(`${path.join('.')}: ${message}`);
  }
  const { server, network, port: pool, health_check_server: health, logging } = parsed.data;
  return {
    server: {
      socketPath: server.unix_domain_path,
      ...(server.unix_domain_permissions !== undefined && { mode: server.unix_domain_permissions }),
      defaultRootfs: server.container_rootfs_path,
      graceTimeMs: server.container_grace_time === null ? null : server.container_grace_time * 1000,
      rlimits: (server.container_rlimits ?? {}) as RlimitSpec,
      ...(server.job_output_limit !== undefined && { jobOutputLimit: server.job_output_limit }),
      ...(!server.quota.disk_quota_enabled && { diskLimits: null }),
      ...(server.syslog_socket && { syslogSocket: server.syslog_socket }),
      allowNetworks: network.allow_networks ?? [],
    },
    engine: {
      depotDirectory: server.container_depot_path,
      networkPool: networkPoolOf(network),
      ...(pool.pool_start_port !== undefined && {
        portPool: { start: pool.pool_start_port, size: portsFrom(pool.pool_start_port, pool.pool_size) },
      }),
      denyNetworks: ['0.0.0.0/0'],
      allowHostAccess: network.allow_host_access,
      dnsServers: network.dns_servers ?? [],
      ...(network.mtu !== undefined && { mtu: network.mtu }),
      subnetRestMs: network.release_delay * 1000,
    },
    logging: { level: logging.level, ...(logging.file && { file: logging.file }) },
    healthPort: health.port,
    ...(server.pidfile && { pidFile: server.pidfile }),
  };
}

/** A start address with a number of containers asks for the smallest network that holds so many. */
function networkPoolOf(options: z.output<typeof network>): string {
  const { pool_network: pool, pool_start_address: start, pool_size: size } = options;
  if (start === undefined || size === undefined) return pool ?? defaultNetworkPool;
  return `${start}/${32 - (Math.ceil(Math.log2(size)) + networkBits)}`;
}

function portsFrom(start: number, size: number | undefined): number {
  const most = 65_536 - start;
  return Math.min(size ?? most, most);
}

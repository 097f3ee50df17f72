import { randomBytes } from 'node:crypto';
import { statfs } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseConfig } from '../config/load.js';
import { type DeaConfig, deaConfigSchema, defaultStackPath } from '../dea/config.js';
import { type HealthManagerConfig, healthManagerConfigSchema } from '../health-manager/config.js';
import { completeMiniCcConfig, type MiniCcConfig } from '../mini-cc/config.js';
import { completeRouterConfig, type RouterConfig } from '../router/config.js';
import { freePort, freeUdpPort } from './free-port.js';

export interface StandaloneOptions {
  /** Directory that everything is kept in. */
  dataDirectory: string;
  /** Apps are `<name>.<domain>`. */
  domain: string;
  /** First choice of the router's port. */
  routerPort: number;
  /** Container engine; undefined: what fits the machine. */
  engine: 'oci' | 'process' | undefined;
  /** Memory that apps share, MB; undefined: half of the machine's. */
  memoryMb: number | undefined;
  logLevel: MiniCcConfig['logging']['level'];
}

/** Configurations of all parts, made to fit each other and this machine's free ports. */
export interface Layout {
  nats: { host: string; port: number };
  cell: DeaConfig;
  controller: MiniCcConfig;
  router: RouterConfig;
  routerUrl: string;
  /** For the address that the controller has got in the end. */
  healthManager(controllerUrl: string): HealthManagerConfig;
}

const loopback = '127.0.0.1';
const stackName = 'bookworm';
const mebibyte = 1024 * 1024;
/** First choices; another free port is taken when one is in use. */
const ports = {
  nats: 4222,
  controller: 8181,
  directoryServer: 5678,
  fileApi: 1234,
  health: 5155,
  metrics: 7879,
  logs: 3457,
};
/**
 * All waiting of the health manager is in multiples of it. One cell on the same machine can be judged much sooner than
 * the thousand that the usual ten seconds are meant for.
 */
const heartbeatSeconds = 1;

/** The fixture buildpacks stage static pages and apps with a Procfile. */
const fixtures = fileURLToPath(new URL('../../spec/fixtures/buildpacks/', import.meta.url));
const buildpacks = ['static-buildpack', 'procfile-buildpack'].map((name) => ({ name, path: join(fixtures, name) }));

/** Plans what runs where. */
export async function planLayout(options: StandaloneOptions): Promise<Layout> {
  const { dataDirectory, domain, logLevel } = options;
  const nats = { host: loopback, port: await freePort(ports.nats) };
  const routerPort = await freePort(options.routerPort);
  const logPort = await freeUdpPort(ports.logs);
  const routerUrl = `http://${domain}:${routerPort}`;
  const natsUrl = `nats://${loopback}:${nats.port}`;
  const logging = { level: logLevel, file: join(dataDirectory, 'standalone.log') };
  const bulkApi = { auth_user: 'bulk', auth_password: randomWord() };
  const internalApi = { auth_user: 'internal', auth_password: randomWord() };
  const healthPort = await freePort(ports.health);
  const metricsPort = await freePort(ports.metrics);
  return {
    nats,
    routerUrl,
    cell: parseConfig(
      'cell configuration',
      {
        base_dir: join(dataDirectory, 'cell'),
        pid_filename: join(dataDirectory, 'standalone.pid'),
        index: 0,
        local_ip: loopback,
        nats_servers: [natsUrl],
        domain,
        logging,
        loggregator: { router: `${loopback}:${logPort}` },
        directory_server: {
          address: loopback,
          v2_port: await freePort(ports.directoryServer),
          file_api_port: await freePort(ports.fileApi),
          url_port: routerPort,
        },
        stacks: [{ name: stackName, package_path: defaultStackPath() }],
        intervals: { advertise: 3, heartbeat: heartbeatSeconds },
        resources: {
          memory_mb: options.memoryMb ?? Math.max(2048, Math.floor(totalmem() / mebibyte / 2)),
          disk_mb: await freeDiskMb(dataDirectory),
        },
        staging: { enabled: true, memory_limit_mb: 512 },
        containers: options.engine ? { engine: options.engine } : {},
      },
      deaConfigSchema,
    ),
    controller: completeMiniCcConfig({
      data_directory: join(dataDirectory, 'controller'),
      external_port: await freePort(ports.controller),
      loggregator: { port: logPort },
      domain,
      router_url: routerUrl,
      message_bus_servers: [natsUrl],
      staging: { minimum_staging_memory_mb: 512, minimum_staging_disk_mb: 2048 },
      default_stack: stackName,
      buildpacks,
      bulk_api: bulkApi,
      internal_api: internalApi,
      hm9000: { url: `http://${loopback}:${healthPort}` },
      logging,
    }),
    healthManager: (controllerUrl) =>
      parseConfig(
        'health manager configuration',
        {
          nats: [nats],
          local_ip: loopback,
          heartbeat_period_in_seconds: heartbeatSeconds,
          // A cell beside this one may have the usual period.
          heartbeat_ttl_in_heartbeats: 30,
          listener_heartbeat_sync_interval_in_milliseconds: 250,
          fetcher_polling_interval_in_heartbeats: 10,
          desired_freshness_ttl_in_heartbeats: 30,
          snapshot_file: join(dataDirectory, 'hm9000.db'),
          cc_base_url: controllerUrl,
          cc_auth_user: bulkApi.auth_user,
          cc_auth_password: bulkApi.auth_password,
          cc_internal_url: controllerUrl,
          api_server_address: loopback,
          api_server_port: healthPort,
          api_server_username: internalApi.auth_user,
          api_server_password: internalApi.auth_password,
          metrics_server_port: metricsPort,
        },
        healthManagerConfigSchema,
      ),
    router: completeRouterConfig({
      ip: loopback,
      port: routerPort,
      nats_servers: [natsUrl],
      start_response_delay_interval: 0,
    }),
  };
}

/** Half of what is free where containers write. */
async function freeDiskMb(directory: string): Promise<number> {
  const { bavail, bsize } = await statfs(directory);
  return Math.max(4096, Math.floor((bavail * bsize) / mebibyte / 2));
}

/** Parts of one process agree on it at each start. */
function randomWord(): string {
  return randomBytes(16).toString('hex');
}

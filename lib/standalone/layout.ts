import { statfs } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseConfig } from '../config/load.js';
import { type DeaConfig, deaConfigSchema, defaultStackPath } from '../dea/config.js';
import { completeMiniCcConfig, type MiniCcConfig } from '../mini-cc/config.js';
import { completeRouterConfig, type RouterConfig } from '../router/config.js';
import { freePort } from './free-port.js';

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
}

const loopback = '127.0.0.1';
const stackName = 'bookworm';
const mebibyte = 1024 * 1024;
/** First choices; another free port is taken when one is in use. */
const ports = { nats: 4222, controller: 8181, directoryServer: 5678, fileApi: 1234 };

/** The fixture buildpacks stage static pages and apps with a Procfile. */
const fixtures = fileURLToPath(new URL('../../spec/fixtures/buildpacks/', import.meta.url));
const buildpacks = ['static-buildpack', 'procfile-buildpack'].map((name) => ({ name, path: join(fixtures, name) }));

/** Plans what runs where. */
export async function planLayout(options: StandaloneOptions): Promise<Layout> {
  const { dataDirectory, domain, logLevel } = options;
  const nats = { host: loopback, port: await freePort(ports.nats) };
  const routerPort = await freePort(options.routerPort);
  const routerUrl = `http://${domain}:${routerPort}`;
  const natsUrl = `nats://${loopback}:${nats.port}`;
  const logging = { level: logLevel, file: join(dataDirectory, 'standalone.log') };
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
        directory_server: {
          address: loopback,
          v2_port: await freePort(ports.directoryServer),
          file_api_port: await freePort(ports.fileApi),
          url_port: routerPort,
        },
        stacks: [{ name: stackName, package_path: defaultStackPath() }],
        intervals: { advertise: 3 },
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
      domain,
      router_url: routerUrl,
      message_bus_servers: [natsUrl],
      staging: { minimum_staging_memory_mb: 512, minimum_staging_disk_mb: 2048 },
      default_stack: stackName,
      buildpacks,
      logging,
    }),
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

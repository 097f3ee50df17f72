import { z } from 'zod';
import { durationSeconds } from '../config/duration.js';
import { rlimitNames } from '../containers/engine.js';
import type { GardenAddress } from '../containers/garden/server/garden-server.js';
import type { TcpSettings } from '../containers/oci/network/sysctls.js';
import { isHostEntry } from '../containers/oci/runtime/host-files.js';
import { type IdMap, idMapTag, rootOutside } from '../containers/oci/users/id-map.js';
import { stenoLevels } from '../logging/steno.js';
import { hostGroupId } from './host-group.js';

const port = z.int().min(0).max(65_535);
const absolutePath = z.string().startsWith('/', 'must be an absolute path');
const realDirectory = absolutePath.refine((path) => !/^\/+(proc|sys)(\/|$)/.test(path), 'is no place for files');
const hostEntry = z.string().refine(isHostEntry, 'must be an address and its names, in one line');
/** Seconds; 0: what the host has. The most is that of a socket. */
const tcpTime = z.int().min(0).max(32_767).default(0);
/** 0: what the host has. */
const tcpCount = z.int().min(0).max(255).default(0);
/** A group of the host, by name or number; comes out as its number. */
const hostGroup = z.union([z.string().min(1), z.int().min(0)]).transform((value, context) => {
  const id = hostGroupId(value);
  if (id !== undefined) return id;
  context.addIssue(`there is no group ${value} on this host`);
  return z.NEVER;
});
const network = z.cidrv4('must be an IPv4 network such as 10.254.0.0/22');
const address = z.ipv4('must be an IPv4 address');
const duration = durationSeconds.transform((seconds) => seconds * 1000);
/** Not root's, neither the host's nor that of containers. */
const id = z
  .int()
  .min(1)
  .max(rootOutside - 1);
/** 0: all from the first one on. */
const idCount = z
  .int()
  .min(0)
  .max(rootOutside - 1);

/** `garden.yml`: gdn's flags with underscores (docs/protocol/containers.md §2.7); durations come out in milliseconds. */
export const gardenConfigSchema = z
  .object({
    bind_ip: z.string().min(1).optional(),
    bind_port: port.optional(),
    bind_socket: absolutePath.optional(),
    bind_socket_mode: z.union([z.literal('0660'), z.literal('0777')]).default('0660'),
    bind_socket_group: hostGroup.optional(),
    debug_bind_ip: z.string().min(1).optional(),
    debug_bind_port: port.default(17_013),
    read_header_timeout: duration.optional(),
    depot: realDirectory.default('/var/run/gdn/depot'),
    runtime: z.enum(['auto', 'crun', 'runc']).default('auto'),
    runtime_timeout: duration.default(30_000),
    disk_quota_driver: z.enum(['auto', 'xfs-prj', 'ext4-prj', 'loop-image', 'none']).default('auto'),
    spares: z.int().min(0).default(4),
    default_rootfs: z.string().min(1).optional(),
    default_grace_time: duration.default(0),
    destroy_containers_on_startup: z.boolean().default(false),
    disable_privileged_containers: z.boolean().default(false),
    cleanup_process_dirs_on_wait: z.boolean().default(false),
    uid_map_start: id.default(1),
    uid_map_length: idCount.default(0),
    gid_map_start: id.default(1),
    gid_map_length: idCount.default(0),
    network_pool: network.default('10.254.0.0/22'),
    allow_host_access: z.boolean().default(false),
    deny_networks: z.array(network).default([]),
    dns_servers: z.array(address).default([]),
    additional_dns_servers: z.array(address).default([]),
    additional_host_entries: z.array(hostEntry).default([]),
    external_ip: address.optional(),
    mtu: z.int().min(68).max(65_535).optional(),
    port_pool_start: port.default(61_001),
    port_pool_size: z.int().positive().default(4_534),
    max_containers: z.int().min(0).default(0),
    cpu_quota_per_share: z.int().min(0).default(0),
    tcp_keepalive_time: tcpTime,
    tcp_keepalive_interval: tcpTime,
    tcp_keepalive_probes: tcpCount,
    tcp_retries1: tcpCount,
    tcp_retries2: tcpCount,
    no_new_privs: z.boolean().default(false),
    kept_image_bytes: z
      .int()
      .min(0)
      .default(10 * 1024 ** 3),
    tag: z
      .string()
      .regex(/^[A-Za-z0-9]$/, 'must be one letter or digit')
      .optional(),
    docker_registry: z.string().min(1).default('registry-1.docker.io'),
    insecure_docker_registries: z.array(z.string().min(1)).default([]),
    warden_socket: absolutePath.optional(),
    warden_socket_mode: z.union([z.literal('0660'), z.literal('0777')]).default('0660'),
    warden_socket_group: hostGroup.optional(),
    warden_grace_time: duration.default(300_000),
    warden_job_output_limit: z
      .int()
      .positive()
      .default(10 * 1024 * 1024),
    warden_rlimits: z.partialRecord(z.enum(rlimitNames), z.int().min(0)).default({}),
    warden_allow_networks: z.array(network).default([]),
    warden_syslog_socket: absolutePath.optional(),
    logging: z.object({ level: z.enum(stenoLevels).default('info'), file: z.string().optional() }).prefault({}),
  })
  .superRefine((config, context) => {
    const issue = (key: string, message: string) => context.addIssue({ code: 'custom', path: [key], message });
    if (config.bind_ip !== undefined && config.bind_port === undefined) issue('bind_port', 'missing key');
    if (config.bind_ip === undefined && config.bind_port !== undefined) issue('bind_ip', 'missing key');
    if (config.warden_socket !== undefined && config.default_rootfs === undefined) {
      issue('default_rootfs', 'missing key: containers of Warden clients are made from it');
    }
    for (const kind of ['uid', 'gid'] as const) {
      if (config[`${kind}_map_start`] + config[`${kind}_map_length`] > rootOutside) {
        issue(`${kind}_map_length`, `reaches beyond ${rootOutside - 1}: the id after it is that of root`);
      }
    }
    if (config.port_pool_start + config.port_pool_size > 65_536) issue('port_pool_size', 'reaches beyond port 65535');
  });

/** The whole configuration with all defaults in place. */
export type GardenConfig = z.output<typeof gardenConfigSchema>;

const defaultSocket = '/tmp/garden.sock';

/** Where the server listens: on the socket unless only TCP is asked for. */
export function addressesOf(config: GardenConfig): GardenAddress[] {
  const { bind_ip: host, bind_port: tcpPort } = config;
  const tcp = host !== undefined && tcpPort !== undefined ? [{ kind: 'tcp' as const, host, port: tcpPort }] : [];
  const path = config.bind_socket ?? (tcp.length === 0 ? defaultSocket : undefined);
  const mode = Number.parseInt(config.bind_socket_mode, 8);
  const { bind_socket_group: group } = config;
  const socket = { kind: 'unix' as const, mode, ...(group !== undefined && { group }) };
  return [...(path === undefined ? [] : [{ ...socket, path }]), ...tcp];
}

/** Who users of containers are on the host; undefined when they are themselves. */
export function idMapOf(config: GardenConfig): IdMap | undefined {
  const range = (start: number, length: number) => ({ start, length: length || rootOutside - start });
  const idMap = {
    users: range(config.uid_map_start, config.uid_map_length),
    groups: range(config.gid_map_start, config.gid_map_length),
  };
  return idMapTag(idMap) === '' ? undefined : idMap;
}

/** TCP's patience in containers, as far as it is not the host's. */
export function tcpSettingsOf(config: GardenConfig): TcpSettings {
  const settings = {
    tcp_keepalive_time: config.tcp_keepalive_time,
    tcp_keepalive_intvl: config.tcp_keepalive_interval,
    tcp_keepalive_probes: config.tcp_keepalive_probes,
    tcp_retries1: config.tcp_retries1,
    tcp_retries2: config.tcp_retries2,
  };
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== 0));
}

/** Keys that the file gives and this version checks but does not act on (docs/limits.md): nobody should rely on them. */
export function unusedKeys({ tag }: GardenConfig): string[] {
  return tag === undefined ? [] : ['tag'];
}

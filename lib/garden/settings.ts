import { ConfigError, parseConfig, readConfigFile } from '../config/load.js';
import { describeUnknownKey, unknownKeys } from '../config/unknown-keys.js';
import type { GardenServerOptions } from '../containers/garden/server/garden-server.js';
import type { OciEngineOptions } from '../containers/oci/oci-engine.js';
import { readWardenConfiguration } from '../containers/warden/configuration.js';
import type { WardenServerOptions } from '../containers/warden/server/warden-server.js';
import type { StenoLevel } from '../logging/steno.js';
import { addressesOf, type GardenConfig, gardenConfigSchema, idMapOf, tcpSettingsOf, unusedKeys } from './config.js';

/** What the program runs, in the words of its parts. */
export interface ServerSettings {
  engine: Omit<OciEngineOptions, 'logger'>;
  /** Absent: the Garden API is not served. */
  garden?: Omit<GardenServerOptions, 'engine' | 'logger'>;
  /** Absent: the Warden protocol is not served. */
  warden?: Omit<WardenServerOptions, 'engine' | 'logger'>;
  /** TCP port on the loopback that tells a Warden's monitor of health. */
  healthPort?: number;
  /** File that tells a Warden's monitor the number of the process. */
  pidFile?: string;
  /** Where figures of the server are told. */
  debug?: { host: string; port: number };
  destroyContainersOnStartup: boolean;
  logging: { level: StenoLevel; file?: string };
  /** Keys of the file that are checked and of no effect: nobody should rely on them. */
  unusedKeys: string[];
}

/**
 * Reads the server's own configuration, or that of a Warden whose place it takes: the one with a section `server`.
 *
 * @throws ConfigFileError, ConfigError with the full key path of each fault
 */
export function loadSettings(path: string): ServerSettings {
  const document = readConfigFile(path);
  if (!isWardens(document)) {
    const config = parseConfig(path, document, gardenConfigSchema);
    // A misspelt `deny_networks` would leave containers with more than they may have.
    const unknown = unknownKeys(document, gardenConfigSchema).map(describeUnknownKey);
    if (unknown.length > 0) throw new ConfigError(path, unknown);
    return settingsOfGarden(config);
  }
  try {
    return settingsOfWarden(document);
  } catch (error) {
    throw new ConfigError(path, [(error as Error).message]);
  }
}

function isWardens(document: unknown): document is object {
  return typeof document === 'object' && document !== null && 'server' in document;
}

function settingsOfGarden(config: GardenConfig): ServerSettings {
  const { debug_bind_ip: debugHost, debug_bind_port: debugPort } = config;
  const { level, file } = config.logging;
  const warden = wardenOf(config);
  return {
    engine: engineOf(config),
    garden: {
      addresses: addressesOf(config),
      readHeaderTimeoutMs: config.read_header_timeout || undefined,
      defaultRootfs: config.default_rootfs,
      defaultGraceTimeMs: config.default_grace_time,
      disablePrivilegedContainers: config.disable_privileged_containers,
      forgetsDelivered: config.cleanup_process_dirs_on_wait,
      maxContainers: config.max_containers,
    },
    ...(warden && { warden }),
    ...(debugHost !== undefined && { debug: { host: debugHost, port: debugPort } }),
    destroyContainersOnStartup: config.destroy_containers_on_startup,
    logging: { level, ...(file !== undefined && { file }) },
    unusedKeys: unusedKeys(config),
  };
}

function engineOf(config: GardenConfig): ServerSettings['engine'] {
  const idMap = idMapOf(config);
  return {
    depotDirectory: config.depot,
    runtime: config.runtime,
    runtimeTimeoutMs: config.runtime_timeout,
    diskQuotaDriver: config.disk_quota_driver,
    ...(config.default_rootfs !== undefined && { defaultRootfs: config.default_rootfs }),
    dockerRegistry: config.docker_registry,
    insecureRegistries: config.insecure_docker_registries,
    networkPool: config.network_pool,
    portPool: { start: config.port_pool_start, size: config.port_pool_size },
    spares: config.spares,
    allowHostAccess: config.allow_host_access,
    denyNetworks: config.deny_networks,
    dnsServers: config.dns_servers,
    additionalDnsServers: config.additional_dns_servers,
    additionalHostEntries: config.additional_host_entries,
    ...(config.external_ip !== undefined && { externalIp: config.external_ip }),
    ...(config.mtu !== undefined && { mtu: config.mtu }),
    allowPrivileged: !config.disable_privileged_containers,
    ...(idMap && { idMap }),
    ...(config.cpu_quota_per_share > 0 && { cpuQuotaPerShareUs: config.cpu_quota_per_share }),
    tcp: tcpSettingsOf(config),
    noNewPrivileges: config.no_new_privs,
    keptImageBytes: config.kept_image_bytes,
  };
}

function wardenOf(config: GardenConfig): ServerSettings['warden'] {
  const { warden_socket: socketPath, default_rootfs: defaultRootfs } = config;
  if (socketPath === undefined || defaultRootfs === undefined) return undefined;
  return {
    socketPath,
    mode: Number.parseInt(config.warden_socket_mode, 8),
    ...(config.warden_socket_group !== undefined && { group: config.warden_socket_group }),
    graceTimeMs: config.warden_grace_time === 0 ? null : config.warden_grace_time,
    defaultRootfs,
    jobOutputLimit: config.warden_job_output_limit,
    rlimits: config.warden_rlimits,
    allowNetworks: config.warden_allow_networks,
    ...(config.warden_syslog_socket !== undefined && { syslogSocket: config.warden_syslog_socket }),
  };
}

function settingsOfWarden(document: object): ServerSettings {
  const { server, engine, healthPort, pidFile, logging } = readWardenConfiguration(document);
  return {
    engine: { ...engine, allowPrivileged: false },
    warden: server,
    healthPort,
    ...(pidFile !== undefined && { pidFile }),
    destroyContainersOnStartup: false,
    logging,
    unusedKeys: [],
  };
}

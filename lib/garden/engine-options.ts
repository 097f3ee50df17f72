import type { OciEngineOptions } from '../containers/oci/oci-engine.js';
import type { GardenConfig } from './config.js';

/** What the configuration says of the engine itself. */
export function engineOptions(config: GardenConfig): Omit<OciEngineOptions, 'logger'> {
  return {
    depotDirectory: config.depot,
    runtime: config.runtime,
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
  };
}

import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { realPathOf } from '../../files/real-path.js';
import type { Logger } from '../../logging/logger.js';
import { Launcher } from '../../process/launcher.js';
import type { ContainerEngine } from '../engine.js';
import { createCgroups } from './cgroups/cgroups.js';
import { createImages } from './images/images.js';
import { DepotLayout } from './layout.js';
import { createNetwork } from './network/network.js';
import type { TcpSettings } from './network/sysctls.js';
import { OciEngine } from './orchestrator.js';
import { checkNameSettings, type NameSettings } from './runtime/host-files.js';
import type { RuntimeName } from './runtime/oci-runtime.js';
import { StartActivity } from './start-activity.js';
import { engineTag } from './tag.js';
import type { IdMap } from './users/id-map.js';
import { UserNamespaces } from './users/user-namespaces.js';
import type { DriverSetting } from './volumes/disk-driver.js';
import { createVolumes } from './volumes/volumes.js';

export interface OciEngineOptions {
  /** Holds one directory per container; its file system holds what containers write. Made when missing. */
  depotDirectory: string;
  /** `auto`: crun if it works on this host, else runc. @default 'auto' */
  runtime?: 'auto' | RuntimeName;
  /** A container or process that is not up after so long is given up, milliseconds. @default 30000 */
  runtimeTimeoutMs?: number;
  /** What containers are made from whose description names no root file system. @default none */
  defaultRootfs?: string;
  /**
   * How disk limits are enforced (docs/protocol/containers.md §4.3). `auto`: by project quotas where the depot's file
   * system has them, else by an image per container. @default 'auto'
   */
  diskQuotaDriver?: DriverSetting;
  /** Registry of images that name none (`docker:///repository`). @default 'registry-1.docker.io' */
  dockerRegistry?: string;
  /** Registries (`host` or `host:port`) that may be spoken to without TLS. @default none */
  insecureRegistries?: string[];
  /** Image layers that no container has are kept up to this size, for the next one. Bytes. @default 10 GiB */
  keptImageBytes?: number;
  /** CIDR that containers' /30 networks are taken from. @default '10.254.0.0/22' */
  networkPool?: string;
  /** Host ports that are handed out when a request names none. @default 61001, 4534 */
  portPool?: { start: number; size: number };
  /** Address that is told as the one mapped ports answer on. @default that of the default route's interface */
  externalIp?: string;
  /** Networks (CIDR) that containers reach only by a NetOut rule. @default none */
  denyNetworks?: string[];
  /** Networks (CIDR) that containers reach although they are among the denied ones. @default none */
  allowNetworks?: string[];
  /** Containers may connect to the host itself. @default false */
  allowHostAccess?: boolean;
  /** Name servers of containers; they may be asked on the host, too. @default those of the host */
  dnsServers?: string[];
  /** Name servers that are asked after those. @default none */
  additionalDnsServers?: string[];
  /** Lines for the containers' `/etc/hosts`: `10.0.0.9 name`. @default none */
  additionalHostEntries?: string[];
  /** Of the containers' links. @default that of the interface with the external address, at most 1500 */
  mtu?: number;
  /** How long a released subnet rests before it is handed out again, milliseconds. @default 5000 */
  subnetRestMs?: number;
  /** TCP settings of containers, by name below `net.ipv4`. @default what the host has */
  tcp?: TcpSettings;
  /**
   * Microseconds of processor time that each CPU share allows in 100,000 (docs/protocol/containers.md §3.7).
   * @default shares are relative only
   */
  cpuQuotaPerShareUs?: number;
  /** Volumes and networks that are kept ready, so that a burst of creates does not wait for them. @default 4 */
  spares?: number;
  /** Containers made at the same time; more wait. @default 2 per processor */
  maxParallelCreates?: number;
  /** Unprivileged containers get a user namespace of their own, where the host can make them. @default true */
  userNamespaces?: boolean;
  /**
   * Who others than root are on the host, in containers with a user namespace. When it is given, a host that cannot make
   * one is refused. @default themselves
   */
  idMap?: IdMap;
  /** Whether privileged containers may be made. @default true */
  allowPrivileged?: boolean;
  /** Set-user-id programs and file capabilities lend nothing in unprivileged containers. @default false */
  noNewPrivileges?: boolean;
  logger: Logger;
}

const defaultSpares = 4;
const defaultRuntimeTimeoutMs = 30_000;
const defaultNetworkPool = '10.254.0.0/22';
const defaultPortPool = { start: 61_001, size: 4_534 };
const addressesPerContainer = 4;

/** The container engine `oci` with all its rooms; call `start` before anything else. */
export function createOciEngine(options: OciEngineOptions): ContainerEngine {
  const layout = new DepotLayout(realPathOf(options.depotDirectory));
  const { logger, networkPool = defaultNetworkPool, spares = defaultSpares } = options;
  const names: NameSettings = {
    dnsServers: options.dnsServers ?? [],
    additionalDnsServers: options.additionalDnsServers ?? [],
    additionalHostEntries: options.additionalHostEntries ?? [],
  };
  checkNameSettings(names);
  const tag = engineTag(layout.depot);
  const launcher = new Launcher();
  const activity = new StartActivity();
  const images = createImages({
    directory: layout.images,
    ownersDirectory: layout.owners,
    ...(options.defaultRootfs !== undefined && { defaultRootfs: options.defaultRootfs }),
    ...(options.dockerRegistry !== undefined && { dockerRegistry: options.dockerRegistry }),
    ...(options.insecureRegistries && { insecureRegistries: options.insecureRegistries }),
    ...(options.keptImageBytes !== undefined && { keptBytes: options.keptImageBytes }),
    logger,
  });
  const userNamespaces = new UserNamespaces(options.idMap);
  return new OciEngine(
    {
      images,
      volumes: createVolumes({
        directory: layout.volumes,
        driver: options.diskQuotaDriver ?? 'auto',
        layers: images,
        spares,
        activity,
        logger,
      }),
      network: createNetwork({
        tag,
        launcher,
        namespaceOwner: userNamespaces,
        noNewPrivileges: options.noNewPrivileges ?? false,
        spares,
        activity,
        pool: networkPool,
        ports: options.portPool ?? defaultPortPool,
        portStateFile: join(layout.network, 'ports.json'),
        ...(options.externalIp !== undefined && { externalIp: options.externalIp }),
        ...(options.denyNetworks && { denyNetworks: options.denyNetworks }),
        ...(options.allowNetworks && { allowNetworks: options.allowNetworks }),
        ...(options.allowHostAccess !== undefined && { allowHostAccess: options.allowHostAccess }),
        dnsServers: [...names.dnsServers, ...names.additionalDnsServers],
        ...(options.mtu !== undefined && { mtu: options.mtu }),
        ...(options.tcp && { tcp: options.tcp }),
        ...(options.subnetRestMs !== undefined && { subnetRestMs: options.subnetRestMs }),
        logger,
      }),
      launcher,
      userNamespaces,
      activity,
      names,
      cgroups: createCgroups({
        tag,
        ...(options.cpuQuotaPerShareUs !== undefined && { cpuQuotaPerShareUs: options.cpuQuotaPerShareUs }),
        logger,
      }),
      logger,
    },
    {
      layout,
      runtime: options.runtime ?? 'auto',
      runtimeTimeoutMs: options.runtimeTimeoutMs ?? defaultRuntimeTimeoutMs,
      userNamespaces: options.userNamespaces ?? true,
      demandsUserNamespaces: options.idMap !== undefined,
      allowPrivileged: options.allowPrivileged ?? true,
      noNewPrivileges: options.noNewPrivileges ?? false,
      maxContainers: Math.floor(addressesIn(networkPool) / addressesPerContainer),
      maxParallelCreates: options.maxParallelCreates ?? 2 * availableParallelism(),
    },
  );
}

function addressesIn(cidr: string): number {
  return 2 ** (32 - Number(cidr.split('/')[1] ?? '32'));
}

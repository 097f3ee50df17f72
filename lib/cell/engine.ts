import { join } from 'node:path';
import type { ContainerEngine } from '../containers/engine.js';
import type { ServerAddress } from '../containers/garden/client/garden-calls.js';
import { GardenEngine } from '../containers/garden/client/garden-engine.js';
import { createOciEngine, type OciEngineOptions } from '../containers/oci/oci-engine.js';
import { createProcessEngine } from '../containers/process/process-engine.js';
import { WardenEngine } from '../containers/warden/client/warden-engine.js';
import type { Logger } from '../logging/logger.js';

/** The `containers` keys of a cell's configuration. */
export interface EngineSettings {
  runtime: 'auto' | 'crun' | 'runc';
  disk_quota_driver: 'auto' | 'xfs-prj' | 'ext4-prj' | 'loop-image' | 'none';
  depot_dir?: string | undefined;
  network_pool: string;
  port_pool_start: number;
  port_pool_size: number;
  spares: number;
  allow_host_access: boolean;
  deny_networks: string[];
  allow_networks: string[];
  garden_address: string;
}

export interface EngineOptions {
  kind: 'oci' | 'process' | 'garden' | 'warden';
  settings: EngineSettings;
  /** Socket of the Warden server, for `warden`. */
  wardenSocket?: string | undefined;
  /** Holds the depot unless the settings name one. */
  baseDirectory: string;
  localIp: string;
  logger: Logger;
}

const defaultWardenSocket = '/tmp/warden.sock';

/** The container engine of a cell, shared by all of its fronts. */
export function createEngine(options: EngineOptions): ContainerEngine {
  const { kind, settings, localIp, logger } = options;
  switch (kind) {
    case 'oci':
      return createOciEngine({ ...ociOptions(options), logger });
    case 'process':
      return createProcessEngine({
        depotDirectory: depotDirectory(options),
        portPoolStart: settings.port_pool_start,
        portPoolSize: settings.port_pool_size,
        logger,
      });
    case 'garden':
      return new GardenEngine({ address: gardenAddress(settings.garden_address), logger });
    case 'warden':
      return WardenEngine.create({
        socketPath: options.wardenSocket ?? defaultWardenSocket,
        stateFile: join(options.baseDirectory, 'db', 'warden.json'),
        scratchDirectory: join(options.baseDirectory, 'warden'),
        externalIp: localIp,
        logger,
      });
  }
}

/** The options of the engine `oci`; also what tries it out has to know them. */
export function ociOptions(
  options: Pick<EngineOptions, 'settings' | 'baseDirectory' | 'localIp'>,
): Omit<OciEngineOptions, 'logger'> {
  const { settings, localIp } = options;
  return {
    depotDirectory: depotDirectory(options),
    runtime: settings.runtime,
    diskQuotaDriver: settings.disk_quota_driver,
    networkPool: settings.network_pool,
    spares: settings.spares,
    externalIp: localIp,
    allowHostAccess: settings.allow_host_access,
    denyNetworks: settings.deny_networks,
    allowNetworks: settings.allow_networks,
    portPool: { start: settings.port_pool_start, size: settings.port_pool_size },
  };
}

function depotDirectory({ settings, baseDirectory }: Pick<EngineOptions, 'settings' | 'baseDirectory'>): string {
  return settings.depot_dir ?? join(baseDirectory, 'depot');
}

/** `/path/of/a.sock`, or `host:port`. */
function gardenAddress(text: string): ServerAddress {
  if (text.startsWith('/')) return { kind: 'unix', path: text };
  const colon = text.lastIndexOf(':');
  return { kind: 'tcp', host: text.slice(0, colon), port: Number(text.slice(colon + 1)) };
}

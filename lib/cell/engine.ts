import { join } from 'node:path';
import type { ContainerEngine } from '../containers/engine.js';
import type { ServerAddress } from '../containers/garden/client/garden-calls.js';
import { GardenEngine } from '../containers/garden/client/garden-engine.js';
import { createOciEngine } from '../containers/oci/oci-engine.js';
import { createProcessEngine } from '../containers/process/process-engine.js';
import { WardenEngine } from '../containers/warden/client/warden-engine.js';
import type { Logger } from '../logging/logger.js';

/** The `containers` keys of a cell's configuration. */
export interface EngineSettings {
  runtime: 'auto' | 'crun' | 'runc';
  depot_dir?: string | undefined;
  network_pool: string;
  port_pool_start: number;
  port_pool_size: number;
  spares: number;
  allow_host_access: boolean;
  deny_networks: string[];
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
  const depotDirectory = settings.depot_dir ?? join(options.baseDirectory, 'depot');
  const portPool = { start: settings.port_pool_start, size: settings.port_pool_size };
  switch (kind) {
    case 'oci':
      return createOciEngine({
        depotDirectory,
        runtime: settings.runtime,
        networkPool: settings.network_pool,
        spares: settings.spares,
        externalIp: localIp,
        allowHostAccess: settings.allow_host_access,
        denyNetworks: settings.deny_networks,
        portPool,
        logger,
      });
    case 'process':
      return createProcessEngine({
        depotDirectory,
        portPoolStart: portPool.start,
        portPoolSize: portPool.size,
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

/** `/path/of/a.sock`, or `host:port`. */
function gardenAddress(text: string): ServerAddress {
  if (text.startsWith('/')) return { kind: 'unix', path: text };
  const colon = text.lastIndexOf(':');
  return { kind: 'tcp', host: text.slice(0, colon), port: Number(text.slice(colon + 1)) };
}

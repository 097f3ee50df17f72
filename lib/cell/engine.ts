import { join } from 'node:path';
import type { ContainerEngine } from '../containers/engine.js';
import { HostRequirementError } from '../containers/errors.js';
import { createOciEngine } from '../containers/oci/oci-engine.js';
import { createProcessEngine } from '../containers/process/process-engine.js';
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
}

export interface EngineOptions {
  kind: 'oci' | 'process' | 'garden' | 'warden';
  settings: EngineSettings;
  /** Holds the depot unless the settings name one. */
  baseDirectory: string;
  localIp: string;
  logger: Logger;
}

/**
 * The container engine of a cell, shared by all of its fronts.
 * @throws HostRequirementError for an engine that this version does not have
 */
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
    case 'warden':
      throw new HostRequirementError(`containers.engine: ${kind} is not built yet; use oci or process`);
  }
}

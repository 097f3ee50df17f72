import { type HealthManagerConfig, healthManagerConfigSchema, timesOf } from '../../lib/health-manager/config.js';
import { HealthManager } from '../../lib/health-manager/health-manager.js';
import { MemoryStore } from '../../lib/health-manager/store/memory/memory-store.js';
import { silentLogger } from '../../lib/logging/logger.js';
import { bulkCredentials, internalCredentials } from './mini-cc.js';

export interface WatchingHealthManager {
  store: MemoryStore;
  stop(): Promise<void>;
}

/**
 * A real health manager of a miniature Cloud Controller, in this process. Its heartbeat is a second, so that everything
 * takes a tenth of its usual time; its orders go over the bus, where a peer sees them.
 */
export async function watchOver(options: {
  natsPort: number;
  controllerUrl: string;
  apiPort: number;
}): Promise<WatchingHealthManager> {
  const config: HealthManagerConfig = healthManagerConfigSchema.parse({
    heartbeat_period_in_seconds: 1,
    listener_heartbeat_sync_interval_in_milliseconds: 100,
    fetcher_polling_interval_in_heartbeats: 1,
    desired_freshness_ttl_in_heartbeats: 3,
    nats: [{ host: '127.0.0.1', port: options.natsPort }],
    cc_base_url: options.controllerUrl,
    cc_auth_user: bulkCredentials.user,
    cc_auth_password: bulkCredentials.password,
    sender_transport: 'nats',
    api_server_address: '127.0.0.1',
    api_server_port: options.apiPort,
    api_server_username: internalCredentials.user,
    api_server_password: internalCredentials.password,
    metrics_server_port: 0,
  });
  const store = new MemoryStore({ times: timesOf(config).store, clock: () => Math.floor(Date.now() / 1000) });
  const manager = HealthManager.create({
    config,
    store,
    localIp: '127.0.0.1',
    onAbort: () => {
      throw new Error('the health manager gave up');
    },
    logger: silentLogger,
  });
  await manager.start();
  return { store, stop: () => manager.stop() };
}

import type { Bus } from '../../bus/bus.js';
import type { Logger } from '../../logging/logger.js';
import type { HealthManagerConfig } from '../config.js';
import type { HealthStore } from '../store/health-store.js';
import { AutoTransport } from './auto-transport.js';
import { HttpTransport } from './http-transport.js';
import { LegacyTransport } from './legacy-transport.js';
import { NatsTransport } from './nats-transport.js';
import type { OrderTransport } from './transport.js';

export interface ChosenTransport {
  transport: OrderTransport;
  /** Cuts what is under way. Idempotent. */
  close(): Promise<void>;
}

export interface TransportSurroundings {
  config: HealthManagerConfig;
  bus: Bus;
  store: HealthStore;
  logger: Logger;
}

/** The way that the configuration wants orders to take (docs/protocol/health-manager.md §6.4). */
export function chooseTransport({ config, bus, store, logger }: TransportSurroundings): ChosenTransport {
  const nats = config.legacy_health_subjects
    ? new LegacyTransport({ bus, store })
    : new NatsTransport(bus, { start: config.sender_nats_start_subject, stop: config.sender_nats_stop_subject });
  if (config.cc_internal_url === '' || config.sender_transport === 'nats' || config.legacy_health_subjects) {
    return { transport: nats, close: async () => {} };
  }
  const http = new HttpTransport({
    baseUrl: config.cc_internal_url,
    user: config.api_server_username,
    password: config.api_server_password,
    verifiesCertificate: !config.skip_cert_verify,
  });
  const transport = config.sender_transport === 'http' ? http : new AutoTransport({ http, nats, logger });
  return { transport, close: () => http.close() };
}

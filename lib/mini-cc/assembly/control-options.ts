import type { Dispatcher } from 'undici';
import type { Bus } from '../../bus/bus.js';
import type { Logger } from '../../logging/logger.js';
import type { MiniCcConfig } from '../config.js';
import type { Urls } from '../urls.js';
import type { Access } from './access.js';
import type { Releases } from './releases.js';
import type { Stores } from './stores.js';

/** What those who speak with others need. */
export interface ControlOptions {
  config: MiniCcConfig;
  access: Access;
  stores: Stores;
  bus: Bus;
  urls: Urls;
  /** Lies around each request to agents, to the health manager and to Diego. */
  interceptor: Dispatcher.DispatcherComposeInterceptor | undefined;
  logger: Logger;
  /** Milliseconds since 1970. */
  now: () => number;
  /** From 0 up to, without, 1. */
  random: () => number;
  releases: Releases;
}

import { type Identity, readIdentity } from '../../http/internal-tls.js';
import type { Logger } from '../../logging/logger.js';
import { type HealthManagerConfig, timesOf } from '../config.js';
import type { LockBackend } from '../locks/lock-backend.js';
import { LocketLocks } from '../locks/locket-locks.js';
import { RedisLocks } from '../locks/redis-locks.js';
import type { HealthStore } from './health-store.js';
import { MemoryStore } from './memory/memory-store.js';
import { StateFile } from './memory/state-file.js';
import { RedisStore } from './redis/redis-store.js';

/** A clock that stands still, for checks from outside (docs/protocol/health-manager.md §11). */
const fakeTimeVariable = 'HM9000_FAKE_TIME';

/** What a process keeps its state in, and where it competes with others for its work. */
export interface OpenedStore {
  store: HealthStore;
  /** Only where several may share the store. */
  lockBackend?: LockBackend;
}

/**
 * The store that the configuration asks for, not started yet.
 * @throws when the state file or a certificate cannot be read, or HM9000_FAKE_TIME makes no sense
 */
export function openStore(config: HealthManagerConfig, logger: Logger): OpenedStore {
  const times = timesOf(config).store;
  const fake = fakeClock();
  if (config.store_type === 'redis') {
    const [url] = config.store_urls;
    const store = new RedisStore({
      times,
      url: url!,
      prefix: config.store_prefix,
      ...(fake && { clock: fake }),
      logger,
    });
    const lockBackend = openLocks(config, logger);
    return { store, ...(lockBackend && { lockBackend }) };
  }
  const stateFile = config.snapshot_file === '' ? undefined : new StateFile(config.snapshot_file);
  return { store: new MemoryStore({ times, clock: fake ?? steadyUnixSeconds, ...(stateFile && { stateFile }) }) };
}

function openLocks(config: HealthManagerConfig, logger: Logger): LockBackend | undefined {
  switch (config.lock_backend) {
    case 'none':
      return undefined;
    case 'locket':
      return new LocketLocks({ address: config.locket_address, identity: locketIdentity(config) });
    case 'store':
      return new RedisLocks({
        url: config.store_urls[0]!,
        namespace: lockNamespace(config.store_prefix),
        logger,
      });
  }
}

function locketIdentity(config: HealthManagerConfig): Identity {
  return readIdentity({
    caFile: config.locket_ca_cert_file,
    certFile: config.locket_client_cert_file,
    keyFile: config.locket_client_key_file,
  });
}

/** The prefix without the version of its layout: health managers of two versions must not work at a time. */
function lockNamespace(prefix: string): string {
  return prefix.replace(/v\d+:$/, '');
}

/**
 * The time of this process's start, counted on: a machine whose clock is set back or forth has neither silent agents
 * that live on for so long, nor crashes that are forgotten.
 */
function steadyUnixSeconds(): number {
  return Math.floor((performance.timeOrigin + performance.now()) / 1000);
}

function fakeClock(): (() => number) | undefined {
  const text = process.env[fakeTimeVariable];
  if (text === undefined) return undefined;
  if (!/^\d+$/.test(text)) throw new Error(`${fakeTimeVariable}: must be whole unix seconds`);
  return () => Number(text);
}

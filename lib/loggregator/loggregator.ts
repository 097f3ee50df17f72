import type { Logger } from '../logging/logger.js';
import { type DropsondeEvent, encodeEnvelope } from './envelope.js';
import { MetronLink } from './metron-link.js';
import { NanosecondClock } from './nanosecond-clock.js';
import type { RouterAddress } from './router-address.js';
import { sign } from './signature.js';

/** Where app logs and metrics go. Nothing that happens there reaches who emits. */
export interface Loggregator {
  start(): void;
  /** Idempotent. */
  stop(): Promise<void>;
  emit(event: DropsondeEvent): void;
  /** Resolves when more can be emitted without others having to go for it. */
  uncongested(): Promise<void>;
}

export interface LoggregatorOptions {
  /** Name of the component that speaks, `DEA`. */
  origin: string;
  /** Absent: nothing is emitted. */
  router?: RouterAddress | undefined;
  /** Signs each datagram; without one it goes out plain, as a Metron on the same machine wants it. */
  sharedSecret?: string | undefined;
  /** Milliseconds since 1970. */
  clock: () => number;
  logger: Logger;
}

/** Discards everything. */
export const silentLoggregator: Loggregator = {
  start() {},
  async stop() {},
  emit() {},
  async uncongested() {},
};

/** One dropsonde envelope per UDP datagram, to a Metron (docs/protocol/edge.md §5.1). */
export function createLoggregator(options: LoggregatorOptions): Loggregator {
  const { origin, router, sharedSecret, logger } = options;
  if (!router) return silentLoggregator;
  const link = new MetronLink({ router, logger });
  const clock = new NanosecondClock(options.clock);
  return {
    start: () => link.start(),
    stop: () => link.stop(),
    emit(event) {
      const envelope = encodeEnvelope(origin, clock.read(), event);
      link.send(sharedSecret === undefined ? envelope : sign(envelope, sharedSecret));
    },
    uncongested: () => link.uncongested(),
  };
}

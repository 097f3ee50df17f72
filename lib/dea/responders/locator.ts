import type { Bus } from '../../bus/bus.js';
import type { Ledger } from '../../cell/ledger.js';
import type { ContainerEngine } from '../../containers/engine.js';
import type { Logger } from '../../logging/logger.js';
import type { DeaConfig } from '../config.js';
import type { InstanceRegistry } from '../instances/instance-registry.js';
import { type Advertisement, subjects } from '../messages.js';

export interface LocatorOptions {
  bus: Bus;
  agentId: string;
  config: DeaConfig;
  ledger: Ledger;
  instances: InstanceRegistry;
  isolation: ContainerEngine['isolation'];
  /** Base of the HTTPS interface; null when there is none, so that Cloud Controllers use NATS. @default none */
  url?(): string | null;
  logger: Logger;
}

/** Between two advertisements that changes of capacity cause. */
const minimumPauseMs = 500;

/**
 * Offers the cell's free capacity (docs/protocol/dea.md §5.1): periodically, when asked, and soon after each change, so
 * that Cloud Controllers that do not know of each other place by true figures. Both subjects carry the same id and
 * the same free capacity: a Cloud Controller of 2015 fails when an id is missing on one of them.
 */
export class Locator {
  private timer: NodeJS.Timeout | undefined;
  private pending: NodeJS.Timeout | undefined;
  private unsubscribe: (() => void) | undefined;
  private lastSentMs = Number.NEGATIVE_INFINITY;

  constructor(private readonly options: LocatorOptions) {}

  start(): void {
    const { config, ledger } = this.options;
    this.timer = setInterval(() => this.advertise(), config.intervals.advertise * 1000);
    this.unsubscribe = ledger.onChange(() => this.advertiseSoon());
    this.advertise();
  }

  stop(): void {
    clearInterval(this.timer);
    clearTimeout(this.pending);
    this.timer = undefined;
    this.pending = undefined;
    this.unsubscribe?.();
  }

  /** Publishes now what is free; silent once stopped. */
  advertise(): void {
    if (this.timer === undefined) return;
    const { bus, config, instances, isolation, url, logger } = this.options;
    logger.debug('dea_locator.advertise', { isolation });
    this.lastSentMs = performance.now();
    bus.publish(subjects.advertise, {
      ...this.offer(),
      url: url?.() ?? null,
      app_id_to_count: instances.countByApplication(),
      placement_properties: { zone: config.placement_properties.zone },
    });
    if (config.legacy_protocols.includes('staging.advertise')) this.advertiseStaging();
  }

  advertiseStaging(): void {
    if (this.timer === undefined) return;
    const offer = this.offer();
    // A cell that does not stage is still in the pool, with no room.
    const available = this.options.config.staging.enabled ? offer.available_memory : 0;
    this.options.bus.publish(subjects.stagingAdvertise, { ...offer, available_memory: available });
  }

  private offer(): Advertisement {
    const { agentId, config, ledger } = this.options;
    const free = ledger.free();
    return {
      id: agentId,
      stacks: config.stacks.map(({ name }) => name),
      available_memory: free.memoryMb,
      available_disk: free.diskMb,
    };
  }

  private advertiseSoon(): void {
    if (this.timer === undefined || this.pending) return;
    const pauseMs = Math.max(0, this.lastSentMs + minimumPauseMs - performance.now());
    this.pending = setTimeout(() => {
      this.pending = undefined;
      this.advertise();
    }, pauseMs);
  }
}

import type { Ledger, Resources } from '../../cell/ledger.js';
import type { InstanceRegistry } from '../instances/instance-registry.js';

export interface DiscoveryOptions {
  ledger: Ledger;
  instances: InstanceRegistry;
  /** Whether the agent takes new apps. */
  isAccepting(): boolean;
}

const maximumDelayMs = 250;
const delayPerInstanceMs = 10;
const delayWhenFullMs = 100;
/** Answers that wait at the same time. An asker takes the first of all agents' answers, so those beyond are no loss. */
const maximumWaiting = 1000;

/**
 * Milliseconds before a `dea.discover` is answered: the first answer wins, so agents with much memory and without
 * instances of the app are quicker (docs/protocol/dea.md §22).
 */
export function discoverDelayMs(instancesOfApplication: number, reservedShareOfMemory: number): number {
  return Math.min(
    maximumDelayMs,
    delayPerInstanceMs * instancesOfApplication + delayWhenFullMs * reservedShareOfMemory,
  );
}

/** The delayed answers to `dea.discover`. */
export class Discovery {
  private readonly waiting = new Set<NodeJS.Timeout>();

  constructor(private readonly options: DiscoveryOptions) {}

  /** Calls `answer` after the delay, if there is room for the app now and then. */
  answerSoon(applicationId: string, wanted: Resources, answer: () => void): void {
    if (!this.hasRoom(wanted) || this.waiting.size >= maximumWaiting) return;
    const { ledger, instances } = this.options;
    const reservedShare = ledger.reserved().memoryMb / ledger.capacity.memoryMb;
    const delayMs = discoverDelayMs(instances.ofApplication(applicationId).length, reservedShare);
    const timer = setTimeout(() => {
      this.waiting.delete(timer);
      if (this.hasRoom(wanted)) answer();
    }, delayMs);
    this.waiting.add(timer);
  }

  /** Gives none of the answers that wait. */
  stop(): void {
    for (const timer of this.waiting) clearTimeout(timer);
    this.waiting.clear();
  }

  private hasRoom(wanted: Resources): boolean {
    const { ledger, isAccepting } = this.options;
    return isAccepting() && ledger.constrainedResource(wanted) === undefined;
  }
}

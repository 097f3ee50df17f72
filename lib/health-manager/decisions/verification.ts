import { type AppState, type InstanceHeartbeat, isLive, type PendingStart, type PendingStop } from '../records.js';

/** A stop that may go out, with what the Cloud Controller is told of it. */
export interface StopVerdict {
  index: number;
  /** Whether the index goes on without this instance. */
  isDuplicate: boolean;
}

/**
 * Whether a start that is due is still wanted (docs/protocol/health-manager.md §6.3 rule 4).
 *
 * @param app undefined when nothing is known of it
 */
export function isStartWanted({ index, skipVerification }: PendingStart, app: AppState | undefined): boolean {
  if (skipVerification) return true;
  if (!app?.desired || index >= app.desired.instances) return false;
  return !someLiveAt(app, index);
}

/**
 * Whether a stop that is due is still wanted: never that of the last instance on a wanted index
 * (docs/protocol/health-manager.md §6.3 rule 5). An instance that is not known any more is not stopped.
 *
 * @param isStopping tells of instances that have a stop on the way: nobody may count on them
 */
export function verifyStop(
  { instance }: PendingStop,
  app: AppState | undefined,
  isStopping: (instance: string) => boolean = () => false,
): StopVerdict | undefined {
  const known = app?.instances.get(instance);
  if (!app || !known) return undefined;
  const { index } = known;
  if (!app.desired || index >= app.desired.instances) return { index, isDuplicate: false };
  if (known.state === 'EVACUATING') return { index, isDuplicate: true };
  const goesOn = liveAt(app, index).some((other) => other.instance !== instance && !isStopping(other.instance));
  return goesOn ? { index, isDuplicate: true } : undefined;
}

function someLiveAt(app: AppState, index: number): boolean {
  for (const instance of app.instances.values()) {
    if (instance.index === index && isLive(instance)) return true;
  }
  return false;
}

function liveAt(app: AppState, index: number): InstanceHeartbeat[] {
  return [...app.instances.values()].filter((instance) => instance.index === index && isLive(instance));
}

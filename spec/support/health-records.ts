import type {
  AppState,
  CrashCount,
  DesiredApp,
  Heartbeat,
  InstanceHeartbeat,
  PendingStart,
  PendingStop,
} from '../../lib/health-manager/records.js';
import type { ReceivedHeartbeat } from '../../lib/health-manager/store/health-store.js';

/** An app under test, in the few words that its specs need. */
export const app = { app: 'app-guid', version: 'app-version' };

let sequence = 0;

export function instance(index: number, state = 'RUNNING', more: Partial<InstanceHeartbeat> = {}): InstanceHeartbeat {
  sequence += 1;
  return { ...app, instance: `instance-${sequence}`, index, state, stateTimestamp: 1000.5, dea: 'dea-a', ...more };
}

export function desired(instances: number, packageState: DesiredApp['packageState'] = 'STAGED'): DesiredApp {
  return { ...app, instances, packageState };
}

export function start(index: number, more: Partial<PendingStart> = {}): PendingStart {
  sequence += 1;
  return {
    ...app,
    messageId: `message-${sequence}`,
    sendOn: 1000,
    sentOn: 0,
    keepAlive: 30,
    index,
    priority: 1,
    skipVerification: false,
    reason: 'MISSING',
    ...more,
  };
}

export function stop(instanceGuid: string, more: Partial<PendingStop> = {}): PendingStop {
  sequence += 1;
  return {
    ...app,
    messageId: `message-${sequence}`,
    sendOn: 1000,
    sentOn: 0,
    keepAlive: 30,
    instance: instanceGuid,
    reason: 'EXTRA',
    ...more,
  };
}

export interface StateParts {
  desired?: DesiredApp;
  instances?: InstanceHeartbeat[];
  crashCounts?: CrashCount[];
  pendingStarts?: PendingStart[];
  pendingStops?: PendingStop[];
}

export function appState(parts: StateParts = {}): AppState {
  return {
    ...app,
    revision: 0,
    desired: parts.desired,
    instances: new Map(parts.instances?.map((entry) => [entry.instance, entry])),
    crashCounts: new Map(parts.crashCounts?.map((entry) => [entry.index, entry])),
    pendingStarts: new Map(parts.pendingStarts?.map((entry) => [entry.index, entry])),
    pendingStops: new Map(parts.pendingStops?.map((entry) => [entry.instance, entry])),
  };
}

/** A heartbeat as the listener hands it to a store. */
export function received(
  dea: string,
  instances: InstanceHeartbeat[],
  more: Partial<Heartbeat> = {},
): ReceivedHeartbeat {
  const owned = instances.map((entry) => ({ ...entry, dea }));
  return { dea, isRepeated: false, read: () => ({ dea, instances: owned, illegible: [], ...more }) };
}

import type { Heartbeat, InstanceHeartbeat } from '../records.js';

/** A heartbeat that says nothing that could be used; the text says why. */
export class HeartbeatError extends Error {}

/** A list entry that was left out. */
export interface SkippedEntry {
  position: number;
  reason: string;
}

export interface ReadHeartbeat extends Heartbeat {
  skipped: SkippedEntry[];
}

/** What may stand in a key of a store: no separators. */
const guid = /^[^\s,]{1,255}$/;

/**
 * Reads what an agent sent (docs/protocol/health-manager.md §2.1). It runs for every change of every agent, so it
 * checks by hand. A bad entry costs itself and nothing else: it must neither hide the others nor look like an instance
 * that is gone.
 *
 * @throws HeartbeatError when there is no list of a known agent in it
 */
export function readHeartbeat(payload: Uint8Array): ReadHeartbeat {
  const { dea, droplets } = envelope(payload);
  const instances: InstanceHeartbeat[] = [];
  const illegible: string[] = [];
  const skipped: SkippedEntry[] = [];
  for (const [position, entry] of droplets.entries()) {
    const reason = faultOf(entry);
    if (reason === undefined) {
      instances.push(instanceOf(entry as Entry, dea));
      continue;
    }
    skipped.push({ position, reason });
    const instance = (entry as Partial<Entry> | null)?.instance;
    if (typeof instance === 'string') illegible.push(instance);
  }
  return { dea, instances, illegible, skipped };
}

interface Entry {
  droplet: string;
  version: string;
  instance: string;
  index: number;
  state: string;
  state_timestamp?: number | null;
}

function envelope(payload: Uint8Array): { dea: string; droplets: unknown[] } {
  let document: unknown;
  try {
    document = JSON.parse(Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString());
  } catch {
    throw new HeartbeatError('not JSON');
  }
  if (typeof document !== 'object' || document === null || Array.isArray(document)) {
    throw new HeartbeatError('not a JSON object');
  }
  const { dea, droplets = null } = document as Record<string, unknown>;
  if (typeof dea !== 'string' || !guid.test(dea)) throw new HeartbeatError('dea: must be a non-empty string');
  if (droplets !== null && !Array.isArray(droplets)) throw new HeartbeatError('droplets: must be an array');
  return { dea, droplets: droplets ?? [] };
}

function faultOf(entry: unknown): string | undefined {
  if (typeof entry !== 'object' || entry === null) return 'not an object';
  const { droplet, version, instance, index, state, state_timestamp: since } = entry as Record<string, unknown>;
  if (typeof droplet !== 'string' || !guid.test(droplet)) return 'droplet: must be a guid';
  if (typeof version !== 'string' || !guid.test(version)) return 'version: must be a guid';
  if (typeof instance !== 'string' || !guid.test(instance)) return 'instance: must be a guid';
  if (!Number.isInteger(index) || (index as number) < 0) return 'index: must be a whole number from 0 on';
  if (typeof state !== 'string' || !guid.test(state)) return 'state: must be a word';
  if (since !== undefined && since !== null && typeof since !== 'number') return 'state_timestamp: must be a number';
  return undefined;
}

function instanceOf({ droplet, version, instance, index, state, state_timestamp: since }: Entry, dea: string) {
  return { instance, app: droplet, version, index, state, stateTimestamp: Math.round((since ?? 0) * 10) / 10, dea };
}

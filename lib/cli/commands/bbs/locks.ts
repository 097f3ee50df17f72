import { quoteJson } from '../../../bbs/messages/json/text.js';
import type { Resource, ResourceType } from '../../../locks/lock-store.js';
import { typeCodes } from '../../../locks/wire/messages.js';
import type { LocketSession } from './session/locket-session.js';
import type { Column } from './session/output.js';

export interface Claim {
  key: string;
  owner: string;
  value?: string;
  /** Seconds. */
  ttl: number;
}

const columns: readonly Column<Resource>[] = [
  ['key', ({ key }) => key],
  ['owner', ({ owner }) => owner],
  ['value', ({ value }) => value],
];

/** Prints all locks, or all presences. */
export async function locks({ locks: store, output, call }: LocketSession, type: ResourceType): Promise<void> {
  const found = await store.list(type, call);
  if (output.isJson) for (const resource of found) output.line(jsonOf(resource));
  else output.table(found, columns);
}

/** Takes a lock or a presence, or renews it. */
export async function claim({ locks: store, call }: LocketSession, type: ResourceType, asked: Claim): Promise<void> {
  const { key, owner, value = '', ttl } = asked;
  await store.acquire({ key, owner, value, type }, ttl * 1000, call);
}

/** Gives a lock or a presence back in its owner's name. */
export async function releaseLock({ locks: store, call }: LocketSession, { key, owner }: Claim): Promise<void> {
  await store.release(key, owner, call);
}

/** As Go prints the message: what is empty is left out. */
function jsonOf(resource: Resource): string {
  const texts = (['key', 'owner', 'value', 'type'] as const).filter((name) => resource[name] !== '');
  const members = texts.map((name) => `"${name}":${quoteJson(resource[name])}`);
  return `{${[...members, `"type_code":${typeCodes[resource.type]}`].join(',')}}`;
}

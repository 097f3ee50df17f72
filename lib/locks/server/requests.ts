import { status } from '@grpc/grpc-js';
import type { Resource, ResourceType } from '../lock-store.js';
import type { FetchAllRequest, FetchRequest, LockRequest, ReleaseRequest, WireResource } from '../wire/messages.js';
import { errorTexts, typeOf } from '../wire/service.js';

/** A request is refused with a code and a text that the client gets. */
export class RequestError extends Error {
  override readonly name = 'RequestError';

  constructor(
    readonly code: status,
    text: string,
  ) {
    super(text);
  }
}

/** Widths of the columns that upstream keeps resources in, in characters. */
const longest = { key: 255, owner: 255, value: 4096 } as const;

/** Longer ones are as good as for ever, and end where numbers do: a hundred years. */
const longestTtlMs = 100 * 365.25 * 24 * 3600 * 1000;

/**
 * What a `Lock` asks for. The checks and their order are upstream's (docs/protocol/edge.md §6.1), but for a resource
 * that is missing or too large: that one must not do any harm.
 *
 * @throws RequestError
 */
export function readLockRequest({ resource, ttlInSeconds }: LockRequest): { resource: Resource; ttlMs: number } {
  assertGiven(resource);
  const type = readType(resource);
  if (ttlInSeconds <= 0n) throw new RequestError(status.INVALID_ARGUMENT, errorTexts.invalidTtl);
  if (resource.owner === '') throw new RequestError(status.INVALID_ARGUMENT, errorTexts.invalidOwner);
  assertFits(resource);
  const { key, owner, value } = resource;
  return { resource: { key, owner, value, type }, ttlMs: Math.min(Number(ttlInSeconds) * 1000, longestTtlMs) };
}

/** @throws RequestError */
export function readReleaseRequest({ resource }: ReleaseRequest): { key: string; owner: string } {
  assertGiven(resource);
  const { key, owner } = resource;
  assertFits({ key, owner });
  return { key, owner };
}

/** @returns the key; undefined: nobody can have it */
export function readFetchRequest({ key }: FetchRequest): string | undefined {
  return key.includes('\0') || isLonger(key, longest.key) ? undefined : key;
}

/** @throws RequestError */
export function readFetchAllRequest(request: FetchAllRequest): ResourceType {
  return readType(request);
}

function readType(request: Pick<WireResource, 'type' | 'typeCode'>): ResourceType {
  const type = typeOf(request);
  if (type === undefined) throw new RequestError(status.NOT_FOUND, errorTexts.invalidType);
  return type;
}

function assertGiven(resource: WireResource | undefined): asserts resource is WireResource {
  if (!resource) throw new RequestError(status.INVALID_ARGUMENT, 'resource: missing');
}

function assertFits(fields: Partial<Record<keyof typeof longest, string>>): void {
  for (const [name, limit] of Object.entries(longest)) {
    const text = fields[name as keyof typeof longest] ?? '';
    if (isLonger(text, limit)) {
      throw new RequestError(status.INVALID_ARGUMENT, `resource.${name}: longer than ${limit} characters`);
    }
    // No database of ours can keep it.
    if (text.includes('\0')) throw new RequestError(status.INVALID_ARGUMENT, `resource.${name}: has a NUL character`);
  }
}

function isLonger(text: string, limit: number): boolean {
  // Few texts are near the limit; only those are counted by characters, as databases do.
  return text.length > limit && (text.length > 2 * limit || [...text].length > limit);
}

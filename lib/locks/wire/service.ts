import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';
import type { Resource, ResourceType } from '../lock-store.js';
import {
  type Codec,
  fetchAllRequest,
  fetchAllResponse,
  fetchRequest,
  fetchResponse,
  lockRequest,
  lockResponse,
  releaseRequest,
  releaseResponse,
  typeCodes,
  type WireResource,
} from './messages.js';

/** Calls of `models.Locket`, all of one question and one answer (docs/protocol/edge.md §6.1). */
export const methodNames = ['Lock', 'Release', 'Fetch', 'FetchAll'] as const;
export type MethodName = (typeof methodNames)[number];

/** Names a request; both sides log it. */
export const requestIdKey = 'uuid';
/** Trailer of ours with the fencing token (docs/protocol/edge.md §8.1). */
export const fenceKey = 'isthmus-fence';

/** Texts of upstream's errors; clients compare them. */
export const errorTexts = {
  lockCollision: 'lock-collision',
  invalidTtl: 'invalid-ttl',
  invalidOwner: 'invalid-owner',
  invalidType: 'invalid-type',
  resourceNotFound: 'resource-not-found',
} as const;

export const locketService = {
  Lock: method('Lock', lockRequest, lockResponse),
  Release: method('Release', releaseRequest, releaseResponse),
  Fetch: method('Fetch', fetchRequest, fetchResponse),
  FetchAll: method('FetchAll', fetchAllRequest, fetchAllResponse),
} satisfies ServiceDefinition;

/** The type by number where it has one that is known, else by name, as old clients say it; undefined: there is none. */
export function typeOf({ type, typeCode }: Pick<WireResource, 'type' | 'typeCode'>): ResourceType | undefined {
  switch (typeCode) {
    case typeCodes.lock:
      return 'lock';
    case typeCodes.presence:
      return 'presence';
    case typeCodes.unknown:
      return type === 'lock' || type === 'presence' ? type : undefined;
    default:
      return undefined;
  }
}

/** With its type in both forms. */
export function toWire(resource: Resource): WireResource {
  return { ...resource, typeCode: typeCodes[resource.type] };
}

function method<Request, Response>(
  name: MethodName,
  request: Codec<Request>,
  response: Codec<Response>,
): MethodDefinition<Request, Response> {
  return {
    path: `/models.Locket/${name}`,
    requestStream: false,
    responseStream: false,
    requestSerialize: request.encode,
    requestDeserialize: request.decode,
    responseSerialize: response.encode,
    responseDeserialize: response.decode,
  };
}

/** Subjects and payloads of the router's NATS protocol (docs/protocol/edge.md §1.1, §1.2). */
import { z } from 'zod';

export const subjects = {
  register: 'router.register',
  unregister: 'router.unregister',
  start: 'router.start',
  greet: 'router.greet',
} as const;

const port = z.int().min(0).max(65535);
const text = z.string().nullish();

/** Unknown fields are ignored; one of the wrong type drops the whole message. */
export const registryMessageSchema = z
  .object({
    host: z.string(),
    port: port.nullish(),
    tls_port: port.nullish(),
    uris: z
      .array(z.string())
      .nullish()
      .transform((uris) => uris ?? []),
    app: text,
    private_instance_id: text,
    private_instance_index: text,
    server_cert_domain_san: text,
    route_service_url: z
      .string()
      .refine((url) => url === '' || url.startsWith('https'), 'must start with https')
      .nullish(),
    tags: z.record(z.string(), z.string()).nullish(),
    stale_threshold_in_seconds: z.int().nullish(),
    availability_zone: text,
  })
  .transform((message) => ({
    uris: message.uris,
    endpoint: {
      host: message.host,
      port: message.tls_port || message.port || 0,
      isTls: Boolean(message.tls_port),
      app: message.app ?? '',
      instanceId: message.private_instance_id ?? '',
      instanceIndex: message.private_instance_index ?? '',
      serverName: message.server_cert_domain_san ?? '',
      routeServiceUrl: message.route_service_url ?? '',
      availabilityZone: message.availability_zone ?? '',
      tags: message.tags ?? null,
      staleThresholdSeconds: message.stale_threshold_in_seconds ?? 0,
    } satisfies Endpoint,
  }));

export type RegistryMessage = z.output<typeof registryMessageSchema>;

/** Where a route leads. */
export interface Endpoint {
  host: string;
  port: number;
  isTls: boolean;
  app: string;
  instanceId: string;
  instanceIndex: string;
  /** Name that the endpoint's certificate must carry. */
  serverName: string;
  routeServiceUrl: string;
  availabilityZone: string;
  tags: Record<string, string> | null;
  /** 0: the router's own threshold. */
  staleThresholdSeconds: number;
}

/** Sent at the router's start and as the answer to `router.greet`. */
export interface StartMessage {
  id: string;
  hosts: string[];
  minimumRegisterIntervalInSeconds: number;
  pruneThresholdInSeconds: number;
}

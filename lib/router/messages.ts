/** Subjects and payloads of the router's NATS protocol (docs/protocol/edge.md §1.1, §1.2). */
import { z } from 'zod';

export const subjects = {
  register: 'router.register',
  unregister: 'router.unregister',
  start: 'router.start',
  greet: 'router.greet',
} as const;

export const balancingAlgorithms = ['round-robin', 'least-connection'] as const;
export type BalancingAlgorithm = (typeof balancingAlgorithms)[number];

/** Where a route leads. */
export interface Endpoint {
  host: string;
  /** The one with TLS, when there is one. */
  port: number;
  isTls: boolean;
  protocol: string;
  app: string;
  instanceId: string;
  instanceIndex: string;
  /** Name that the endpoint's certificate must carry. */
  serverName: string;
  routeServiceUrl: string;
  isolationSegment: string;
  availabilityZone: string;
  tags: Record<string, string> | null;
  /** 0: the router's own threshold. */
  staleThresholdSeconds: number;
  /** undefined: the router's own. */
  balancing: BalancingAlgorithm | undefined;
}

/** Routes that lead to an endpoint, or do so no longer. */
export interface Registration {
  uris: string[];
  endpoint: Endpoint;
}

const port = z.int().min(0).max(65_535).nullish();
const text = z
  .string()
  .nullish()
  .transform((value) => value ?? '');

/** Unknown fields are ignored; one of the wrong type drops the whole message. */
export const registryMessageSchema = z
  .object({
    host: z.string().min(1),
    port,
    tls_port: port,
    // A route's path has at most 128 characters; one of a million segments would only be meant to harm.
    uris: z.array(z.string().max(2048)).nullish(),
    protocol: text,
    app: text,
    private_instance_id: text,
    private_instance_index: text,
    server_cert_domain_san: text,
    isolation_segment: text,
    route_service_url: text.refine((url) => url === '' || url.startsWith('https'), 'must start with https'),
    tags: z.record(z.string(), z.string()).nullish(),
    stale_threshold_in_seconds: z.int().nullish(),
    // Nanoseconds: more than a number holds exactly, but nothing here is told from it.
    endpoint_updated_at_ns: z.number().nullish(),
    availability_zone: text,
    // Some builds of upstream's route-emitter spelt the key lb_algo.
    options: z.object({ loadbalancing: text, lb_algo: text }).nullish(),
  })
  .transform(
    (message): Registration => ({
      uris: message.uris ?? [],
      endpoint: {
        host: message.host,
        port: message.tls_port || message.port || 0,
        isTls: Boolean(message.tls_port),
        // HTTP/2 is not built.
        protocol: message.protocol === '' || message.protocol === 'http2' ? 'http1' : message.protocol,
        app: message.app,
        instanceId: message.private_instance_id,
        instanceIndex: message.private_instance_index,
        serverName: message.server_cert_domain_san,
        routeServiceUrl: message.route_service_url,
        isolationSegment: message.isolation_segment,
        availabilityZone: message.availability_zone,
        tags: message.tags ?? null,
        staleThresholdSeconds: message.stale_threshold_in_seconds ?? 0,
        balancing: balancingOf(message.options?.loadbalancing || message.options?.lb_algo),
      },
    }),
  );

function balancingOf(name: string | undefined): BalancingAlgorithm | undefined {
  return balancingAlgorithms.find((algorithm) => algorithm === name);
}

/** Sent at the router's start and as the answer to `router.greet`. */
export interface StartMessage {
  id: string;
  hosts: string[];
  minimumRegisterIntervalInSeconds: number;
  pruneThresholdInSeconds: number;
}

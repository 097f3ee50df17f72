import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { EgressRule } from '../messages.js';
import { egressRulesSchema, InvalidMessageError, parseMessage, type Service, serviceSchema } from '../messages.js';

/** What an instance is, whichever message or snapshot record it came from (docs/protocol/dea.md §8.1). */
export interface InstanceAttributes {
  ccPartition: string;
  instanceId: string;
  privateInstanceId: string;
  instanceIndex: number;
  applicationId: string;
  applicationVersion: string;
  applicationName: string;
  applicationUris: string[];
  dropletSha1: string | null;
  dropletUri: string | null;
  limits: { mem: number; disk: number; fds: number };
  /** `NAME=value`, in the order of the message. */
  environmentEntries: string[];
  services: Service[];
  startCommand: string | null;
  healthCheckTimeout: number | null;
  stack: string | null;
  egressNetworkRules: EgressRule[];
  vcapApplication: Record<string, unknown>;
  /** The start message as it came, for the snapshot: it holds credentials, never log it. */
  startMessage: Record<string, unknown>;
}

/** Attribute names of snapshot records and of messages mean the same; the attribute's own name wins. */
const messageNames: [message: string, attribute: string][] = [
  ['index', 'instance_index'],
  ['version', 'application_version'],
  ['name', 'application_name'],
  ['uris', 'application_uris'],
  ['droplet', 'application_id'],
  ['sha1', 'droplet_sha1'],
  ['executableUri', 'droplet_uri'],
];

/** File descriptors of an app when the Cloud Controller gives none (docs/protocol/legacy-cc.md §3). */
const defaultFileDescriptors = 16384;

const schema = z.object({
  cc_partition: z.string(),
  // It becomes a file name and a container's handle.
  instance_id: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$/, 'must consist of letters, digits, - and _')
    .optional(),
  private_instance_id: z.string().optional(),
  instance_index: z.int().min(0),
  application_id: z.union([z.string(), z.number()]).transform(String),
  application_version: z.string(),
  application_name: z.string(),
  application_uris: z
    .array(z.string())
    .nullish()
    .transform((uris) => uris ?? []),
  droplet_sha1: z.string().nullish(),
  droplet_uri: z.string().nullish(),
  limits: z.object({
    mem: z.int().positive(),
    disk: z.int().positive(),
    fds: z.int().positive().nullish(),
  }),
  env: z.array(z.string()).nullish(),
  environment: z.record(z.string(), z.string()).nullish(),
  services: z.array(serviceSchema),
  start_command: z.string().nullish(),
  health_check_timeout: z.number().positive().nullish(),
  stack: z.string().nullish(),
  egress_network_rules: egressRulesSchema,
  vcap_application: z.record(z.string(), z.unknown()).nullish(),
});

/**
 * Translates a start message, or a snapshot's record, into attributes; gives new ids where there are none.
 * @throws InvalidMessageError naming each missing or mistyped field (docs/protocol/dea.md §8.2)
 */
export function parseInstanceAttributes(source: unknown): InstanceAttributes {
  if (typeof source !== 'object' || source === null || Array.isArray(source)) {
    throw new InvalidMessageError('start', ['(message): expected an object']);
  }
  const message = source as Record<string, unknown>;
  const named: Record<string, unknown> = { ...message };
  for (const [messageName, attribute] of messageNames) {
    if (named[attribute] === undefined) named[attribute] = message[messageName];
  }
  const parsed = parseMessage('start', schema, named);
  return {
    ccPartition: parsed.cc_partition,
    instanceId: parsed.instance_id ?? newInstanceId(),
    privateInstanceId: parsed.private_instance_id ?? randomBytes(32).toString('hex'),
    instanceIndex: parsed.instance_index,
    applicationId: parsed.application_id,
    applicationVersion: parsed.application_version,
    applicationName: parsed.application_name,
    applicationUris: parsed.application_uris,
    dropletSha1: parsed.droplet_sha1 ?? null,
    dropletUri: parsed.droplet_uri ?? null,
    limits: { ...parsed.limits, fds: parsed.limits.fds ?? defaultFileDescriptors },
    environmentEntries: parsed.env ?? entriesOf(parsed.environment ?? {}),
    services: parsed.services,
    startCommand: parsed.start_command ?? null,
    healthCheckTimeout: parsed.health_check_timeout ?? null,
    stack: parsed.stack ?? null,
    egressNetworkRules: parsed.egress_network_rules,
    vcapApplication: parsed.vcap_application ?? {},
    startMessage: message,
  };
}

/** 32 hexadecimal digits without dashes: the Cloud Controller tells ids from indices by that. */
export function newInstanceId(): string {
  return randomBytes(16).toString('hex');
}

/** `{FOO: 'bar'}` from `['FOO=bar']`: split at the first `=`, a missing `=` gives an empty value. */
export function environmentOf(entries: string[]): Record<string, string> {
  return Object.fromEntries(entries.map(splitEntry));
}

/** Name and value of a `NAME=value` entry. */
export function splitEntry(entry: string): [name: string, value: string] {
  const position = entry.indexOf('=');
  return position < 0 ? [entry, ''] : [entry.slice(0, position), entry.slice(position + 1)];
}

function entriesOf(environment: Record<string, string>): string[] {
  return Object.entries(environment).map(([name, value]) => `${name}=${value}`);
}

/** What tells an instance from others in a log (docs/protocol/dea.md §21.3); neither its secrets nor what may hold some. */
export function loggedAttributes(attributes: InstanceAttributes): Record<string, unknown> {
  return {
    application_id: attributes.applicationId,
    application_name: attributes.applicationName,
    application_version: attributes.applicationVersion,
    instance_index: attributes.instanceIndex,
    droplet_sha1: attributes.dropletSha1,
    limits: attributes.limits,
  };
}

import { exportExpanded, exportLiteral } from '../shell.js';
import { splitEntry } from './attributes.js';

/** The keys of a service that apps see, in this order (docs/protocol/dea.md §10.1). */
const serviceKeys = ['name', 'label', 'tags', 'plan', 'plan_option', 'credentials', 'syslog_drain_url'];

const databaseSchemes: Record<string, string> = {
  mysql: 'mysql2',
  mysql2: 'mysql2',
  postgres: 'postgres',
  postgresql: 'postgres',
  db2: 'ibmdb',
  informix: 'ibmdb',
};

type AnyService = { label: string; credentials?: unknown; [key: string]: unknown };

/** `VCAP_SERVICES`: services by label, reduced to the keys that apps may see; null and false are dropped. */
export function vcapServices(services: AnyService[]): Record<string, Record<string, unknown>[]> {
  const byLabel = new Map<string, Record<string, unknown>[]>();
  for (const service of services) {
    const visible: Record<string, unknown> = {};
    for (const key of serviceKeys) {
      const value = service[key];
      if (value !== undefined && value !== null && value !== false) visible[key] = value;
    }
    byLabel.set(service.label, [...(byLabel.get(service.label) ?? []), visible]);
  }
  return Object.fromEntries(byLabel);
}

/** `DATABASE_URL` of the first service with a known database scheme; empty when none has one (§10.5). */
export function databaseUrl(services: AnyService[]): string {
  for (const { credentials } of services) {
    if (typeof credentials !== 'object' || credentials === null) continue;
    const uri = (credentials as Record<string, unknown>).uri;
    if (typeof uri !== 'string' || !uri.includes(':')) continue;
    const position = uri.indexOf(':');
    const scheme = Object.hasOwn(databaseSchemes, uri.slice(0, position)) && databaseSchemes[uri.slice(0, position)];
    if (scheme) return scheme + uri.slice(position);
  }
  return '';
}

export interface InstanceEnvironment {
  vcapApplication: Record<string, unknown>;
  applicationId: string;
  instanceId: string;
  instanceIndex: number;
  services: AnyService[];
  memoryMb: number;
  containerPort: number;
  hostPort: number;
  localIp: string;
  startedAt: Date;
}

/** `export` lines of the platform's variables; later ones may refer to earlier ones (§10.1). */
export function systemExports(environment: InstanceEnvironment): string {
  const { containerPort, hostPort, localIp, services } = environment;
  return [
    exportLiteral('VCAP_APPLICATION', JSON.stringify(vcapApplication(environment))),
    exportLiteral('VCAP_SERVICES', JSON.stringify(vcapServices(services))),
    exportExpanded('MEMORY_LIMIT', `${environment.memoryMb}m`),
    services.length > 0 ? exportLiteral('DATABASE_URL', databaseUrl(services)) : '',
    exportExpanded('HOME', '$PWD/app'),
    exportExpanded('TMPDIR', '$PWD/tmp'),
    exportExpanded('VCAP_APP_HOST', '0.0.0.0'),
    exportExpanded('VCAP_APP_PORT', String(containerPort)),
    exportExpanded('PORT', '$VCAP_APP_PORT'),
    exportExpanded('CF_INSTANCE_INDEX', String(environment.instanceIndex)),
    exportExpanded('CF_INSTANCE_IP', localIp),
    exportExpanded('CF_INSTANCE_PORT', String(hostPort)),
    exportExpanded('CF_INSTANCE_ADDR', `${localIp}:${hostPort}`),
    exportExpanded('CF_INSTANCE_PORTS', JSON.stringify([{ external: hostPort, internal: containerPort }])),
  ].join('');
}

/** `export` lines of the user's `NAME=value` entries; their values are expanded by the shell. */
export function userExports(entries: string[]): string {
  return entries.map((entry) => exportExpanded(...splitEntry(entry))).join('');
}

export interface StagingEnvironment {
  vcapApplication: Record<string, unknown>;
  services: AnyService[];
  memoryMb: number;
  stagingTimeoutSeconds: number;
  entries: string[];
}

/** `export` lines of a staging script (§17.6). */
export function stagingExports(environment: StagingEnvironment): string {
  const { services } = environment;
  return [
    exportLiteral('VCAP_APPLICATION', JSON.stringify(environment.vcapApplication)),
    exportLiteral('VCAP_SERVICES', JSON.stringify(vcapServices(services))),
    exportExpanded('MEMORY_LIMIT', `${environment.memoryMb}m`),
    services.length > 0 ? exportLiteral('DATABASE_URL', databaseUrl(services)) : '',
    exportExpanded('STAGING_TIMEOUT', environment.stagingTimeoutSeconds.toFixed(1)),
    userExports(environment.entries),
  ].join('');
}

function vcapApplication(environment: InstanceEnvironment): Record<string, unknown> {
  const startedAt = formatLocalTime(environment.startedAt);
  const startedAtTimestamp = Math.floor(environment.startedAt.getTime() / 1000);
  return {
    ...environment.vcapApplication,
    application_id: environment.applicationId,
    instance_id: environment.instanceId,
    instance_index: environment.instanceIndex,
    host: '0.0.0.0',
    port: environment.containerPort,
    started_at: startedAt,
    started_at_timestamp: startedAtTimestamp,
    start: startedAt,
    state_timestamp: startedAtTimestamp,
  };
}

/** `2016-03-17 21:24:10 +0000` in the machine's time zone. */
export function formatLocalTime(time: Date): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const offset = -time.getTimezoneOffset();
  const zone = `${offset < 0 ? '-' : '+'}${two(Math.floor(Math.abs(offset) / 60))}${two(Math.abs(offset) % 60)}`;
  const date = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  return `${date} ${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())} ${zone}`;
}

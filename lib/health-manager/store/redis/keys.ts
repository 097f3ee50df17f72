import type { AppVersion } from '../health-store.js';

/** Redis types that are used. */
export type KeyType = 'string' | 'hash' | 'set' | 'zset';

/**
 * Names under a prefix and what they hold (docs/protocol/health-manager.md §3.4). The scripts know them as well.
 *
 * | Name | Type | Content |
 * |---|---|---|
 * | `deas` | zset | DEA, scored by the end of its presence in unix milliseconds |
 * | `dea:<dea>` | hash | `list`: name of its last saved list; `instances`: their guids, by commas |
 * | `instances` | hash | guid: `<dea>,<index>,<state>,<state timestamp>,<app>,<version>` |
 * | `app:<app>,<version>` | hash | guid: nothing |
 * | `desired` | hash | `<app>,<version>`: `<instances>,STARTED,<package state>` |
 * | `desired.new:<name>` | hash | what will be `desired` |
 * | `orders:<app>,<version>` | hash | `start,<index>` and `stop,<instance>`: JSON; `crash,<index>`: see values.ts |
 * | `with-orders` | set | `<app>,<version>` that have an `orders:` key |
 * | `actual-fresh`, `desired-fresh` | string | `<since>,<until>[,<name>]`, unix milliseconds |
 * | `holds` | zset | app, scored by the end of the hold |
 * | `metrics` | hash | name: number |
 * | `quarantine` | hash | `<name> <field>`: a value that could not be read |
 * | `quarantined:<name>` | any | a key of a wrong type |
 */
const types: Record<string, KeyType> = {
  deas: 'zset',
  'dea:': 'hash',
  instances: 'hash',
  'app:': 'hash',
  desired: 'hash',
  'desired.new:': 'hash',
  'orders:': 'hash',
  'with-orders': 'set',
  'actual-fresh': 'string',
  'desired-fresh': 'string',
  holds: 'zset',
  metrics: 'hash',
  quarantine: 'hash',
};

/** The type that a name's key must have; undefined for names that are not of this layout. */
export function typeOf(name: string): KeyType | undefined {
  const colon = name.indexOf(':');
  return types[colon < 0 ? name : name.slice(0, colon + 1)];
}

/** `<app>,<version>`: guids have no commas. */
export function appKey({ app, version }: AppVersion): string {
  return `${app},${version}`;
}

/** @param key `<app>,<version>` */
export function appVersionOf(key: string): AppVersion {
  const comma = key.indexOf(',');
  return { app: key.slice(0, comma), version: key.slice(comma + 1) };
}

/** For MATCH of SCAN: a prefix has braces and may have brackets. */
export function patternOf(prefix: string): string {
  return `${prefix.replaceAll(/[\\*?[\]^]/g, '\\$&')}*`;
}

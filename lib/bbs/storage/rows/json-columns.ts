import { toJson } from '../../messages/json/print.js';
import { membersOf, quoteJson } from '../../messages/json/text.js';
import {
  type ActualLRPInternalRoute,
  MetricTagValue,
  MetricTagValueDynamicValue,
  ProtoRoutes,
} from '../../messages/models.js';
import { parseJson } from '../encryption/envelope.js';
import { Undecodable } from '../encryption/key-ring.js';

/** The columns that hold JSON, as Go prints it with keys in the order of their bytes (docs/protocol/bbs.md §15). */

/** Routes; none at all is `null`. */
export function printRoutes(routes: ProtoRoutes | undefined): string {
  return routes ? toJson(ProtoRoutes, routes) : 'null';
}

/** Each value stays the bytes that it was. @throws Undecodable */
export function parseRoutes(text: string): ProtoRoutes | undefined {
  const parsed = parseJson(text);
  if (parsed === null) return undefined;
  if (!isObject(parsed)) throw new Undecodable('routes: not an object');
  return ProtoRoutes.create({ routes: new Map(membersOf(text).map(([key, value]) => [key, Buffer.from(value)])) });
}

/** Tags of a desired LRP: `{"source_id":{"static":"x"}}`. */
export function printMetricTagValues(tags: ReadonlyMap<string, MetricTagValue>): string {
  return printMap(tags, (value) => toJson(MetricTagValue, value));
}

/** @throws Undecodable */
export function parseMetricTagValues(text: string): Map<string, MetricTagValue> {
  return new Map(
    membersOfObject(text, 'metric_tags').map(([key, value]) => {
      if (!isObject(value)) throw new Undecodable('metric_tags: a value that is not an object');
      const { static: fixed = '', dynamic = '' } = value;
      return [key, { static: requireText(fixed, 'metric_tags'), dynamic: dynamicValue(dynamic) }];
    }),
  );
}

/** Tags of an actual LRP: `{"source_id":"x"}`. */
export function printMetricTags(tags: ReadonlyMap<string, string>): string {
  return printMap(tags, quoteJson);
}

/** @throws Undecodable */
export function parseMetricTags(text: string): Map<string, string> {
  return new Map(membersOfObject(text, 'metric_tags').map(([key, value]) => [key, requireText(value, 'metric_tags')]));
}

export function printInternalRoutes(routes: readonly ActualLRPInternalRoute[]): string {
  return `[${routes.map(({ hostname }) => `{"hostname":${quoteJson(hostname)}}`).join(',')}]`;
}

/** @throws Undecodable */
export function parseInternalRoutes(text: string): ActualLRPInternalRoute[] {
  return listOf(text, 'internal_routes').map((route) => {
    if (!isObject(route)) throw new Undecodable('internal_routes: a route that is not an object');
    return { hostname: requireText(route.hostname ?? '', 'internal_routes') };
  });
}

/** No tags are `null`. */
export function printPlacementTags(tags: readonly string[]): string {
  return tags.length === 0 ? 'null' : `[${tags.map(quoteJson).join(',')}]`;
}

/** @throws Undecodable */
export function parsePlacementTags(text: string): string[] {
  return listOf(text, 'placement_tags').map((tag) => requireText(tag, 'placement_tags'));
}

function printMap<T>(map: ReadonlyMap<string, T>, print: (value: T) => string): string {
  const keys = [...map.keys()].sort(compareBytes);
  return `{${keys.map((key) => `${quoteJson(key)}:${print(map.get(key)!)}`).join(',')}}`;
}

/** UTF-16 and UTF-8 sort alike but for characters beyond the first 65536, which are surrogates in UTF-16. */
function compareBytes(a: string, b: string): number {
  if (/[\ud800-\udfff]/.test(a + b)) return Buffer.compare(Buffer.from(a), Buffer.from(b));
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

function membersOfObject(text: string, field: string): [string, unknown][] {
  const parsed = parseJson(text);
  if (parsed === null) return [];
  if (!isObject(parsed)) throw new Undecodable(`${field}: not an object`);
  return Object.entries(parsed);
}

function listOf(text: string, field: string): unknown[] {
  const parsed = parseJson(text);
  if (parsed === null) return [];
  if (!Array.isArray(parsed)) throw new Undecodable(`${field}: not a list`);
  return parsed;
}

function dynamicValue(name: unknown): MetricTagValueDynamicValue {
  // What Go does not know it takes for its zero.
  return name === 'INDEX' || name === 'INSTANCE_GUID' ? MetricTagValueDynamicValue[name] : 0;
}

function requireText(value: unknown, field: string): string {
  if (typeof value !== 'string') throw new Undecodable(`${field}: not text`);
  return value;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

import { z } from 'zod';
import type { Logger } from '../logging/logger.js';
import { formatKeyPath } from './load.js';

/** A key that no schema knows, with the known key that it looks like. */
export interface UnknownKey {
  /** Full path: `staging.max_stagin_duration`. */
  path: string;
  suggestion?: string;
}

/**
 * The keys of a parsed document that its schema does not know, at any depth: what a misspelling would make of a
 * setting. Sections that take any key are left alone.
 */
export function unknownKeys(document: unknown, schema: z.ZodType, parentPath: PropertyKey[] = []): UnknownKey[] {
  if (Array.isArray(document)) {
    const items = itemSchemas(schema);
    if (items.length === 0) return [];
    return document.flatMap((entry, index) => unknownKeys(entry, z.union(items), [...parentPath, index]));
  }
  if (typeof document !== 'object' || document === null) return [];
  const shape = shapeOf(schema);
  if (!shape) return [];
  return Object.entries(document).flatMap(([key, value]) => {
    const path = [...parentPath, key];
    const known = Object.hasOwn(shape, key) ? shape[key] : undefined;
    if (known) return unknownKeys(value, known, path);
    const suggestion = nearest(key, Object.keys(shape));
    return [{ path: formatKeyPath(path), ...(suggestion !== undefined && { suggestion }) }];
  });
}

/** A line about an unknown key, for people. */
export function describeUnknownKey({ path, suggestion }: UnknownKey): string {
  return suggestion === undefined ? `${path}: unknown key` : `${path}: unknown key (did you mean ${suggestion}?)`;
}

/** Keys that are ignored are told of: they may be misspelt. */
export function warnOfUnknownKeys(unknown: UnknownKey[], logger: Logger): void {
  for (const { path: key, suggestion } of unknown) {
    logger.warn('config.key.unknown', { key, ...(suggestion !== undefined && { did_you_mean: suggestion }) });
  }
}

/** The schemas that a wrapper, a choice or a transformation stands for. */
function alternatives(schema: z.ZodType): z.ZodType[] {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable) return alternatives(inner(schema));
  if (schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault) return alternatives(inner(schema));
  if (schema instanceof z.ZodPipe) {
    // Of `preprocess` the output is the schema; of `transform` the input.
    const [from, to] = [schema.in as z.ZodType, schema.out as z.ZodType];
    return alternatives(from instanceof z.ZodTransform ? to : from);
  }
  if (schema instanceof z.ZodUnion) return (schema.options as z.ZodType[]).flatMap(alternatives);
  return [schema];
}

function inner(schema: { unwrap(): unknown }): z.ZodType {
  return schema.unwrap() as z.ZodType;
}

/** The keys of all objects among a schema's alternatives; undefined when one of them takes any key. */
function shapeOf(schema: z.ZodType): Record<string, z.ZodType> | undefined {
  const objects = alternatives(schema).filter((candidate) => candidate instanceof z.ZodObject);
  if (objects.length === 0) return undefined;
  return Object.assign({}, ...objects.map(({ shape }) => shape)) as Record<string, z.ZodType>;
}

function itemSchemas(schema: z.ZodType): z.ZodType[] {
  return alternatives(schema)
    .filter((candidate) => candidate instanceof z.ZodArray)
    .map((candidate) => candidate.element as z.ZodType);
}

/** The known key that is at most a third of its letters away. */
function nearest(key: string, known: string[]): string | undefined {
  const ranked = known
    .map((candidate) => ({ candidate, distance: editDistance(key.toLowerCase(), candidate) }))
    .sort((a, b) => a.distance - b.distance)[0];
  return ranked && ranked.distance <= Math.max(1, Math.floor(ranked.candidate.length / 3))
    ? ranked.candidate
    : undefined;
}

/** Letters to insert, delete or replace to get from one text to the other. */
function editDistance(from: string, to: string): number {
  let previous = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let row = 1; row <= from.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= to.length; column += 1) {
      const replacing = previous[column - 1]! + (from[row - 1] === to[column - 1] ? 0 : 1);
      current.push(Math.min(previous[column]! + 1, current[column - 1]! + 1, replacing));
    }
    previous = current;
  }
  return previous[to.length]!;
}

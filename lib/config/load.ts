import { readFileSync } from 'node:fs';
import { load as parseYaml } from 'js-yaml';
import type { z } from 'zod';

/** A configuration file cannot be read or is not YAML. */
export class ConfigFileError extends Error {}

/** A configuration file has keys that are missing, mistyped or contradictory; each line names a full key path. */
export class ConfigError extends Error {
  constructor(
    readonly path: string,
    readonly problems: string[],
  ) {
    super(`${path}: ${problems.join('; ')}`);
  }
}

/** @throws ConfigFileError when a file is unreadable or no YAML (or JSON, which is YAML) */
export function readConfigFile(path: string): unknown {
  try {
    return parseYaml(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new ConfigFileError(`${path}: ${(error as Error).message}`, { cause: error });
  }
}

/**
 * Reads a YAML file and checks it against a schema.
 *
 * @throws ConfigFileError when the file is unreadable or no YAML mapping
 * @throws ConfigError when the content does not fit; `problems` has one line per key, `staging.memory_limit_mb: ...`
 */
export function loadConfig<Schema extends z.ZodType>(path: string, schema: Schema): z.output<Schema> {
  return parseConfig(path, readConfigFile(path), schema);
}

/** Checks an already parsed document; `path` only names it in errors. */
export function parseConfig<Schema extends z.ZodType>(
  path: string,
  document: unknown,
  schema: Schema,
): z.output<Schema> {
  if (typeof document !== 'object' || document === null || Array.isArray(document)) {
    throw new ConfigFileError(`${path}: expected a mapping of keys at the top`);
  }
  const given = withoutNulls(document);
  const result = schema.safeParse(given, { reportInput: false });
  if (result.success) return result.data;
  throw new ConfigError(
    path,
    result.error.issues.flatMap((issue) => describeIssue(issue, given, [])),
  );
}

/** A key without a value, such as a section of which every line is commented out, counts as absent. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([, entry]) => entry !== null);
  return Object.fromEntries(entries.map(([key, entry]) => [key, withoutNulls(entry)]));
}

function describeIssue(issue: z.core.$ZodIssue, document: unknown, parentPath: PropertyKey[]): string[] {
  const path = [...parentPath, ...issue.path];
  const key = formatKeyPath(path);
  if (issue.code !== 'custom' && valueAt(document, path) === undefined) return [`${key}: missing key`];
  if (issue.code === 'invalid_union') {
    // Of several accepted forms, the one that got furthest is the one that was meant.
    const furthest = [...issue.errors].sort((a, b) => depthOf(b) - depthOf(a))[0] ?? [];
    if (depthOf(furthest) > 0) return furthest.flatMap((inner) => describeIssue(inner, document, path));
  }
  return [`${key}: ${issue.message}`];
}

function depthOf(issues: z.core.$ZodIssue[]): number {
  return Math.max(0, ...issues.map((issue) => issue.path.length));
}

/** `stacks[0].package_path` from `['stacks', 0, 'package_path']`. */
export function formatKeyPath(path: PropertyKey[]): string {
  if (path.length === 0) return '(top level)';
  return path
    .map((part, position) => (typeof part === 'number' ? `[${part}]` : `${position === 0 ? '' : '.'}${String(part)}`))
    .join('');
}

function valueAt(document: unknown, path: PropertyKey[]): unknown {
  let value = document;
  for (const part of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<PropertyKey, unknown>)[part];
  }
  return value;
}

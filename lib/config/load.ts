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

/**
 * Reads a YAML (or JSON, which is YAML) file and checks it against a schema.
 *
 * @throws ConfigFileError when the file is unreadable or no YAML mapping
 * @throws ConfigError when the content does not fit; `problems` has one line per key, `staging.memory_limit_mb: ...`
 */
export function loadConfig<Schema extends z.ZodType>(path: string, schema: Schema): z.output<Schema> {
  let document: unknown;
  try {
    document = parseYaml(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new ConfigFileError(`${path}: ${(error as Error).message}`, { cause: error });
  }
  return parseConfig(path, document, schema);
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
  const result = schema.safeParse(document, { reportInput: false });
  if (result.success) return result.data;
  throw new ConfigError(
    path,
    result.error.issues.map((issue) => describeIssue(issue, document)),
  );
}

function describeIssue(issue: z.core.$ZodIssue, document: unknown): string {
  const key = formatKeyPath(issue.path);
  const isMissing = issue.code === 'invalid_type' && valueAt(document, issue.path) === undefined;
  if (isMissing) return `${key}: missing key`;
  return `${key}: ${issue.message}`;
}

/** `stacks[0].package_path` from `['stacks', 0, 'package_path']`. */
function formatKeyPath(path: PropertyKey[]): string {
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

import { CORE_SCHEMA, load as parseYaml, Type } from 'js-yaml';
import type { z } from 'zod';
import { formatKeyPath } from '../../config/load.js';
import { describeUnknownKey, unknownKeys } from '../../config/unknown-keys.js';
import { CliError } from '../cli-error.js';
import { type ManifestDocument, manifestSchema } from './schema.js';

/** A manifest file, read and checked; `warnings` tell of what is left unheeded, a line each. */
export interface ParsedManifest {
  document: ManifestDocument;
  warnings: string[];
}

/** `<<: *anchor`. */
const mergeKey = new Type('tag:yaml.org,2002:merge', { kind: 'scalar', resolve: (data: unknown) => data === '<<' });

/** Without dates: `2001-12-14` in a variable is text. */
const yamlSchema = CORE_SCHEMA.extend({ implicit: [mergeKey] });

/**
 * Reads the text of a manifest. Pure.
 *
 * @param path only names the file in errors and warnings
 * @throws CliError naming the file and each faulty field
 */
export function parseManifest(path: string, text: string): ParsedManifest {
  const content = readYaml(path, text);
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw new CliError(`${path}: expected a mapping with the key applications`);
  }
  const result = manifestSchema.safeParse(content);
  if (!result.success) {
    const problems = result.error.issues.map((issue) => `${formatKeyPath(issue.path)}: ${problemOf(issue)}`);
    throw new CliError(`${path}: ${problems.join('; ')}`);
  }
  const warnings = unknownKeys(content, manifestSchema).map((key) => `${path}: ${describeUnknownKey(key)}`);
  return { document: result.data, warnings };
}

/** What is wrong with a key of a record stands one level deeper. */
function problemOf(issue: z.core.$ZodIssue): string {
  return (issue.code === 'invalid_key' ? issue.issues[0]?.message : undefined) ?? issue.message;
}

function readYaml(path: string, text: string): unknown {
  try {
    return parseYaml(text, { schema: yamlSchema });
  } catch (error) {
    throw new CliError(`${path}: ${(error as Error).message}`, { cause: error });
  }
}

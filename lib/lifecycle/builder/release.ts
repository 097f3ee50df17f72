import { type ProcessTypes, parseTextYaml, processTypes } from './process-types.js';

/**
 * The `default_process_types` of what `bin/release` printed (docs/protocol/cc-bridge.md §13); no output releases none.
 *
 * @throws when the output is no YAML mapping, or the types are no mapping of texts
 */
export function parseRelease(output: string): ProcessTypes {
  const document = parseTextYaml(output);
  if (document === undefined || document === null) return {};
  if (typeof document !== 'object' || Array.isArray(document)) throw new TypeError('release info must be a mapping');
  const released = (document as Record<string, unknown>).default_process_types;
  return released === undefined || released === null ? {} : processTypes(released);
}

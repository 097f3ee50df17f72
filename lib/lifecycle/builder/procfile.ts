import { InvalidProcfileError } from './errors.js';
import { type ProcessTypes, parseTextYaml, processTypes } from './process-types.js';

/**
 * The process types of a Procfile, which is YAML; null for one without content.
 *
 * @throws InvalidProcfileError when it is anything but a mapping of texts
 */
export function parseProcfile(content: string): ProcessTypes | null {
  try {
    const document = parseTextYaml(content);
    return document === undefined || document === null ? null : processTypes(document);
  } catch (error) {
    throw new InvalidProcfileError(error);
  }
}

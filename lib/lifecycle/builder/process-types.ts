import { FAILSAFE_SCHEMA, load as parseYaml, Type } from 'js-yaml';

/** Commands by process type: `{ web: 'bundle exec rackup' }`. */
export type ProcessTypes = Record<string, string>;

const nullType = new Type('tag:yaml.org,2002:null', {
  kind: 'scalar',
  resolve: (text: string | null) => text === null || /^(~|null|Null|NULL|)$/.test(text),
  construct: () => null,
});

/** Scalars stay as they are spelled: `web: 08` is a command and no number. */
const textSchema = FAILSAFE_SCHEMA.extend({ implicit: [nullType] });

/** Parses YAML whose scalars are texts or null; a key given twice has its last value. @throws YAMLException */
export function parseTextYaml(yaml: string): unknown {
  return parseYaml(yaml, { schema: textSchema, json: true });
}

/**
 * Checks a parsed mapping of process types to commands. A type without a command is left out.
 *
 * @throws TypeError when it is no mapping, or a command is no text
 */
export function processTypes(value: unknown): ProcessTypes {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TypeError('process types must be a mapping');
  }
  const commands: [string, string][] = [];
  for (const [type, command] of Object.entries(value)) {
    if (command === null) continue;
    if (typeof command !== 'string') throw new TypeError(`the command of process type ${type} must be a text`);
    commands.push([type, command]);
  }
  return Object.fromEntries(commands);
}

/** How the process types of the app's Procfile and those that the buildpack released become one set. */
export type MergeRule = (procfile: ProcessTypes | null, released: ProcessTypes) => ProcessTypes;

/** The DEA's rule: a Procfile replaces all that the buildpack released (docs/protocol/cc-bridge.md §13). */
export const procfileReplaces: MergeRule = (procfile, released) => procfile ?? released;

/**
 * What starts the app: the user's own command, else the Procfile's `web`, else the released one; null when there is
 * none (docs/protocol/dea.md §18).
 */
export function startCommand(
  userCommand: string | null | undefined,
  procfile: ProcessTypes | null,
  released: ProcessTypes,
): string | null {
  return userCommand || procfile?.web || released.web || null;
}

/**
 * Variables that would alter or break the builder's own Node.js, but belong to the buildpacks and the user: the
 * bundle's stub takes them away before Node.js starts and carries their values past it
 * (docs/protocol/cc-bridge.md §12).
 */
export const withheldVariables = [
  'NODE_OPTIONS',
  'NODE_EXTRA_CA_CERTS',
  'NODE_PATH',
  'NODE_ICU_DATA',
  'OPENSSL_CONF',
  'LD_LIBRARY_PATH',
  'LD_PRELOAD',
  'LD_AUDIT',
] as const;

/** What a withheld variable is called while it is carried past Node.js. */
export const carrierPrefix = 'ISTHMUS_WITHHELD_';

/** The environment as the builder's caller gave it: withheld values are back, their carriers are gone. */
export function originalEnvironment(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const original: NodeJS.ProcessEnv = {};
  for (const [name, value] of Object.entries(environment)) {
    if (!name.startsWith(carrierPrefix)) original[name] = value;
  }
  for (const name of withheldVariables) {
    const carried = environment[`${carrierPrefix}${name}`];
    if (carried !== undefined) original[name] = carried;
  }
  return original;
}

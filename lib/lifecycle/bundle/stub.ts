import { carrierPrefix, withheldVariables } from '../original-environment.js';

/**
 * The bundle's `run`: starts the builder with the Node.js beside it, through the loader beside it. For any Bourne
 * shell, without any other program; it carries the withheld variables past Node.js, whether set or empty.
 *
 * @param loader file name below `lib`; undefined when Node.js needs none
 */
export function stub(loader: string | undefined): string {
  const names = withheldVariables.join(' ');
  const withhold = `unset ${carrierPrefix}$n; eval "[ -z \\"\\\${$n+set}\\" ] || export ${carrierPrefix}$n=\\"\\$$n\\""; unset $n`;
  const node = loader === undefined ? '"$h/node"' : `"$h/lib/${loader}" --library-path "$h/lib" "$h/node"`;
  return `#!/bin/sh
h=\${0%/*}; for n in ${names}; do ${withhold}; done
exec ${node} --no-warnings "$h/builder.cjs" "$@"
`;
}

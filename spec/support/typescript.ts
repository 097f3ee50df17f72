import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = new URL('../../', import.meta.url);
/** Whether this file, and with it every other one of the project, was compiled before the run (spec/vm). */
const isCompiled = import.meta.url.endsWith('.js');

/**
 * Arguments that make Node run a program of this project as it was built: it starts in half the time of its sources.
 *
 * @param path of its source, from the project's root: `lib/garden/main.ts`
 * @throws when it was not built
 */
export function builtProgram(path: string): string[] {
  const built = fileURLToPath(
    new URL(path.replace(/\.ts$/, '.js').replace(/^lib\//, isCompiled ? 'lib/' : 'dist/'), root),
  );
  if (!existsSync(built)) throw new Error(`${built} is missing; run: npm run build`);
  return [built];
}

/** The same for a program of the specs, which is in no build. @param path `spec/support/oci-child.ts` */
export function specProgram(path: string): string[] {
  const source = fileURLToPath(new URL(path, root));
  return isCompiled ? [source.replace(/\.ts$/, '.js')] : ['--import', 'tsx', source];
}

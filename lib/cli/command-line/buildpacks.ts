import { type Command, createArgument } from 'commander';
import { CliError } from '../cli-error.js';
import { buildpacks, createBuildpack, deleteBuildpack, updateBuildpack } from '../commands/buildpacks.js';
import type { RunCommand } from '../session.js';
import { parsePosition } from './options.js';

interface Switch {
  enable?: boolean;
  disable?: boolean;
}

/** Commands about operators' buildpacks. */
export function addBuildpackCommands(program: Command, run: RunCommand): void {
  program
    .command('buildpacks')
    .description('list the buildpacks in detection order')
    .action(() => run(buildpacks));
  program
    .command('create-buildpack')
    .description('make a buildpack of a directory or a zip file')
    .argument('<buildpack>', 'its name')
    .argument('<path>', 'directory or zip file')
    .addArgument(createArgument('<position>', 'place in the detection order, from 1').argParser(parsePosition))
    .option('--enable', 'use it (that is the default)')
    .option('--disable', 'do not use it yet')
    .action((name: string, path: string, position: number, given: Switch) =>
      run((session) => createBuildpack(session, name, { path, position, isEnabled: isEnabled(given) ?? true })),
    );
  program
    .command('update-buildpack <buildpack>')
    .description('change a buildpack')
    .option('-p, --path <path>', 'new content: directory or zip file')
    .option('-i, --position <position>', 'place in the detection order, from 1', parsePosition)
    .option('--enable', 'use it')
    .option('--disable', 'do not use it')
    .action((name: string, { path, position, ...given }: Switch & { path?: string; position?: number }) => {
      const enabled = isEnabled(given);
      return run((session) =>
        updateBuildpack(session, name, {
          ...(path !== undefined && { path }),
          ...(position !== undefined && { position }),
          ...(enabled !== undefined && { isEnabled: enabled }),
        }),
      );
    });
  program
    .command('delete-buildpack <buildpack>')
    .description('delete a buildpack')
    .option('-f, --force', 'do it without asking')
    .action((name: string, { force = false }: { force?: boolean }) =>
      run((session) => deleteBuildpack(session, name, force)),
    );
}

function isEnabled({ enable, disable }: Switch): boolean | undefined {
  if (enable && disable) throw new CliError('give --enable or --disable, not both');
  return enable ? true : disable ? false : undefined;
}

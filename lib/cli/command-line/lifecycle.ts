import { type Command, createArgument, Option } from 'commander';
import type { Backend } from '../api/resources.js';
import {
  deleteApp,
  kill,
  rename,
  restage,
  restart,
  type ScaleOptions,
  scale,
  start,
  stop,
} from '../commands/lifecycle.js';
import { migrate } from '../commands/migrate.js';
import { parseCount, parseMegabytes } from '../quantities.js';
import type { RunCommand } from '../session.js';

const verbs = [
  { name: 'start', alias: 'st', description: 'start an app', act: start },
  { name: 'stop', alias: 'sp', description: 'stop an app', act: stop },
  { name: 'restart', alias: 'rs', description: 'stop and start an app', act: restart },
  { name: 'restage', alias: 'rg', description: "make a new droplet of an app's files and start it", act: restage },
];

/** Commands that start, stop, change or remove apps. */
export function addLifecycleCommands(program: Command, run: RunCommand): void {
  program
    .command('scale <name>')
    .description('change the number of instances, or their limits, which restarts the app')
    .option('-i, --instances <number>', 'how many instances', parseCount)
    .option('-k, --disk <limit>', 'disk of each instance, 512M or 1G', parseMegabytes)
    .option('-m, --memory <limit>', 'memory of each instance, 256M or 1G', parseMegabytes)
    .action((name: string, options: ScaleOptions) => run((session) => scale(session, name, options)));
  for (const { name: verb, alias, description, act } of verbs) {
    program
      .command(`${verb} <name>`)
      .alias(alias)
      .description(description)
      .action((name: string) => run((session) => act(session, name)));
  }
  program
    .command('kill')
    .alias('restart-app-instance')
    .description('stop one instance; the health manager starts another one in its place')
    .argument('<name>', 'the app')
    .addArgument(createArgument('<index>', 'which instance').argParser(parseCount))
    .action((name: string, index: number) => run((session) => kill(session, name, index)));
  program
    .command('migrate <name>')
    .description('have an app run by Diego, or by cells of the DEA kind again, without a gap')
    .addOption(new Option('--to <side>', 'which side').choices(['diego', 'dea']).makeOptionMandatory())
    .action((name: string, { to }: { to: Backend }) => run((session) => migrate(session, name, to)));
  program
    .command('rename <name> <new-name>')
    .description('give an app another name')
    .action((name: string, newName: string) => run((session) => rename(session, name, newName)));
  program
    .command('delete <name>')
    .alias('d')
    .description('delete an app and all that belongs to it')
    .option('-f, --force', 'do it without asking')
    .action((name: string, { force = false }: { force?: boolean }) =>
      run((session) => deleteApp(session, name, force)),
    );
}

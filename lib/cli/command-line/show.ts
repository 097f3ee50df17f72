import type { Command } from 'commander';
import { files } from '../commands/files.js';
import { logs } from '../commands/logs.js';
import { app, apps, crashes, events, placement, stats } from '../commands/show.js';
import { parseCount } from '../quantities.js';
import type { RunCommand } from '../session.js';
import { type JsonOptions, jsonOption } from './options.js';

/** Commands that only look. */
export function addShowCommands(program: Command, run: RunCommand): void {
  program
    .command('apps')
    .alias('a')
    .description('list all apps')
    .addOption(jsonOption())
    .action(({ json = false }: JsonOptions) => run((session) => apps(session, json)));
  program
    .command('app <name>')
    .description('show an app and its instances')
    .addOption(jsonOption())
    .action((name: string, { json = false }: JsonOptions) => run((session) => app(session, name, json)));
  program
    .command('stats <name>')
    .description('show what the instances of an app use')
    .addOption(jsonOption())
    .action((name: string, { json = false }: JsonOptions) => run((session) => stats(session, name, json)));
  program
    .command('files <name> [path]')
    .alias('f')
    .description("print a file of an instance, or a directory's listing")
    .option('-i, --index <index>', 'which instance', parseCount, 0)
    .action((name: string, path: string | undefined, { index }: { index: number }) =>
      run((session) => files(session, name, path ?? '', index)),
    );
  program
    .command('logs <name>')
    .description("print an app's log as it grows")
    .option('--recent', 'print the last lines and end')
    .action((name: string, { recent = false }: { recent?: boolean }) => run((session) => logs(session, name, recent)));
  program
    .command('events <name>')
    .description('show what happened to an app')
    .action((name: string) => run((session) => events(session, name)));
  program
    .command('crashes <name>')
    .description('list the instances of an app that crashed')
    .action((name: string) => run((session) => crashes(session, name)));
  program
    .command('placement')
    .description('list the cells with what they offer')
    .action(() => run(placement));
}

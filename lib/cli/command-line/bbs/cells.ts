import { Argument, type Command, Option } from 'commander';
import { cell, cellState, cellStates, cells } from '../../commands/bbs/cells.js';
import { domains, setDomain } from '../../commands/bbs/domains.js';
import { parseName, parseTtlSeconds } from './arguments.js';
import type { RunWord } from './run-word.js';

/** Words about domains. */
export function addDomainWords(bbs: Command, run: RunWord): void {
  bbs
    .command('domains')
    .description('list the domains that are fresh')
    .action((_options: object, command: Command) => run(command, domains));
  bbs
    .command('set-domain')
    .description('make a domain fresh')
    .addArgument(new Argument('<domain>', 'its name').argParser(parseName))
    .addOption(
      new Option('-t, --ttl <time>', 'for how long, such as 2m; 0: for ever').default(0).argParser(parseTtlSeconds),
    )
    .action((domain: string, { ttl }: { ttl: number }, command: Command) =>
      run(command, (session) => setDomain(session, domain, ttl)),
    );
}

/** Words about cells. */
export function addCellWords(bbs: Command, run: RunWord): void {
  bbs
    .command('cells')
    .description('list the cells that are present')
    .action((_options: object, command: Command) => run(command, cells));
  bbs
    .command('cell')
    .description('show the presence of a cell')
    .addArgument(cellIdArgument())
    .action((id: string, _options: object, command: Command) => run(command, (session) => cell(session, id)));
  bbs
    .command('cell-state')
    .description("show what a cell's rep says")
    .addArgument(cellIdArgument())
    .action((id: string, _options: object, command: Command) => run(command, (session) => cellState(session, id)));
  bbs
    .command('cell-states')
    .description('show what the reps of all cells say')
    .action((_options: object, command: Command) => run(command, cellStates));
}

function cellIdArgument(): Argument {
  return new Argument('<cell-id>', 'of the cell').argParser(parseName);
}

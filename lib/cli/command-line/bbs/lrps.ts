import { Argument, type Command, Option } from 'commander';
import {
  type ActualLrpFilter,
  actualLrpGroups,
  actualLrpGroupsForGuid,
  actualLrps,
  retireActualLrp,
} from '../../commands/bbs/actual-lrps.js';
import {
  createDesiredLrp,
  deleteDesiredLrp,
  desiredLrp,
  desiredLrpSchedulingInfos,
  desiredLrps,
  updateDesiredLrp,
} from '../../commands/bbs/desired-lrps.js';
import { parseIndex, parseName } from './arguments.js';
import { cellIdOption, domainOption, specArgument } from './options.js';
import type { RunWord } from './run-word.js';

interface DomainOptions {
  domain?: string;
}

/** Words about LRPs, actual and desired. */
export function addLrpWords(bbs: Command, run: RunWord): void {
  addActualLrpWords(bbs, run);
  addDesiredLrpWords(bbs, run);
}

function addActualLrpWords(bbs: Command, run: RunWord): void {
  bbs
    .command('actual-lrps')
    .description('list actual LRPs')
    .addOption(domainOption())
    .addOption(cellIdOption())
    .option('-p, --process-guid <guid>', 'only those of this process')
    .addOption(indexOption())
    .action((filter: ActualLrpFilter, command: Command) => run(command, (session) => actualLrps(session, filter)));
  bbs
    .command('actual-lrp-groups')
    .description('list actual LRPs in groups (deprecated)')
    .addOption(domainOption())
    .addOption(cellIdOption())
    .action((filter: ActualLrpFilter, command: Command) => run(command, (session) => actualLrpGroups(session, filter)));
  bbs
    .command('actual-lrp-groups-for-guid')
    .description('list actual LRPs of a process in groups (deprecated)')
    .addArgument(processGuidArgument())
    .addOption(indexOption())
    .action((guid: string, { index }: ActualLrpFilter, command: Command) =>
      run(command, (session) => actualLrpGroupsForGuid(session, guid, index)),
    );
  bbs
    .command('retire-actual-lrp')
    .description('stop an instance; another one takes its place')
    .addArgument(processGuidArgument())
    .addArgument(new Argument('<index>', 'of the instance').argParser(parseIndex))
    .action((guid: string, index: number, _options: object, command: Command) =>
      run(command, (session) => retireActualLrp(session, guid, index)),
    );
}

function addDesiredLrpWords(bbs: Command, run: RunWord): void {
  bbs
    .command('desired-lrps')
    .description('list desired LRPs')
    .addOption(domainOption())
    .action(({ domain }: DomainOptions, command: Command) => run(command, (session) => desiredLrps(session, domain)));
  bbs
    .command('desired-lrp')
    .description('show a desired LRP')
    .addArgument(processGuidArgument())
    .action((guid: string, _options: object, command: Command) => run(command, (session) => desiredLrp(session, guid)));
  bbs
    .command('desired-lrp-scheduling-infos')
    .description('list what placement needs to know of desired LRPs')
    .addOption(domainOption())
    .action(({ domain }: DomainOptions, command: Command) =>
      run(command, (session) => desiredLrpSchedulingInfos(session, domain)),
    );
  bbs
    .command('create-desired-lrp')
    .description('desire an LRP')
    .addArgument(specArgument('of a desired LRP'))
    .action((spec: string, _options: object, command: Command) =>
      run(command, (session) => createDesiredLrp(session, spec)),
    );
  bbs
    .command('update-desired-lrp')
    .description('change a desired LRP')
    .addArgument(processGuidArgument())
    .addArgument(specArgument('of what changes, such as {"instances":4}'))
    .action((guid: string, spec: string, _options: object, command: Command) =>
      run(command, (session) => updateDesiredLrp(session, guid, spec)),
    );
  bbs
    .command('delete-desired-lrp')
    .description('desire an LRP no longer, which stops its instances')
    .addArgument(processGuidArgument())
    .action((guid: string, _options: object, command: Command) =>
      run(command, (session) => deleteDesiredLrp(session, guid)),
    );
}

function processGuidArgument(): Argument {
  return new Argument('<process-guid>', 'of the process').argParser(parseName);
}

function indexOption(): Option {
  return new Option('-i, --index <index>', 'only that of this index').argParser(parseIndex);
}

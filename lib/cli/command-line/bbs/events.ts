import type { Command } from 'commander';
import { lrpEvents, taskEvents } from '../../commands/bbs/events.js';
import { cellIdOption } from './options.js';
import type { RunWord } from './run-word.js';

interface LrpEventsFlags {
  cellId?: string;
  excludeActualLrpGroups?: boolean;
}

/** Words that print events as they come. */
export function addEventWords(bbs: Command, run: RunWord): void {
  bbs
    .command('lrp-events')
    .description('print events of LRPs as they come')
    .addOption(cellIdOption())
    .option('-x, --exclude-actual-lrp-groups', 'without the deprecated events of groups')
    .action((flags: LrpEventsFlags, command: Command) => run(command, (session) => lrpEvents(session, flags)));
  bbs
    .command('task-events')
    .description('print events of tasks as they come')
    .action((_options: object, command: Command) => run(command, taskEvents));
}

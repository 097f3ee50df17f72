import { Argument, type Command } from 'commander';
import { cancelTask, createTask, deleteTask, type TaskFilter, task, tasks } from '../../commands/bbs/tasks.js';
import { parseName } from './arguments.js';
import { cellIdOption, domainOption, specArgument } from './options.js';
import type { RunWord } from './run-word.js';

/** Words about tasks. */
export function addTaskWords(bbs: Command, run: RunWord): void {
  bbs
    .command('tasks')
    .description('list tasks')
    .addOption(domainOption())
    .addOption(cellIdOption())
    .action((filter: TaskFilter, command: Command) => run(command, (session) => tasks(session, filter)));
  bbs
    .command('task')
    .description('show a task')
    .addArgument(taskGuidArgument())
    .action((guid: string, _options: object, command: Command) => run(command, (session) => task(session, guid)));
  bbs
    .command('create-task')
    .description('desire a task')
    .addArgument(specArgument('of a task, with the keys of its definition'))
    .action((spec: string, _options: object, command: Command) => run(command, (session) => createTask(session, spec)));
  bbs
    .command('cancel-task')
    .description('end a task as failed')
    .addArgument(taskGuidArgument())
    .action((guid: string, _options: object, command: Command) => run(command, (session) => cancelTask(session, guid)));
  bbs
    .command('delete-task')
    .description('remove a completed task')
    .addArgument(taskGuidArgument())
    .action((guid: string, _options: object, command: Command) => run(command, (session) => deleteTask(session, guid)));
}

function taskGuidArgument(): Argument {
  return new Argument('<task-guid>', 'of the task').argParser(parseName);
}

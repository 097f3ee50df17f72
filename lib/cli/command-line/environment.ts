import { type Command, createArgument } from 'commander';
import { env, setEnv, unsetEnv } from '../commands/environment.js';
import type { RunCommand } from '../session.js';
import { parseVariableName } from './options.js';

/** Commands about the variables of apps. */
export function addEnvironmentCommands(program: Command, run: RunCommand): void {
  const variable = () => createArgument('<variable>', 'its name').argParser(parseVariableName);
  program
    .command('env <name>')
    .alias('e')
    .description('show the environment of an app')
    .action((name: string) => run((session) => env(session, name)));
  program
    .command('set-env')
    .alias('se')
    .description('set a variable of an app')
    .argument('<name>', 'the app')
    .addArgument(variable())
    .argument('<value>', 'what it is set to')
    .action((name: string, variableName: string, value: string) =>
      run((session) => setEnv(session, name, variableName, value)),
    );
  program
    .command('unset-env')
    .description('take a variable of an app away')
    .argument('<name>', 'the app')
    .addArgument(variable())
    .action((name: string, variableName: string) => run((session) => unsetEnv(session, name, variableName)));
}

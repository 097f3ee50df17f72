import { CommandError, type CommandOptions, type CommandResult, runCommand } from '../../process/command.js';
import { HostRequirementError } from '../errors.js';

/**
 * Runs a program of the host that a Debian package brings.
 *
 * @throws HostRequirementError with the command that installs it, when it is missing
 * @throws CommandError when it fails
 */
export async function runHostProgram(
  debianPackage: string,
  program: string,
  args: string[],
  options?: CommandOptions,
): Promise<CommandResult> {
  try {
    return await runCommand(program, args, options);
  } catch (error) {
    const cause = error instanceof CommandError ? error.cause : undefined;
    const isMissing = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
    if (!isMissing) throw error;
    throw new HostRequirementError(`${program} is missing: apt-get install ${debianPackage}`, { cause: error });
  }
}

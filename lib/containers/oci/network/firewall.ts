import { CommandError, runCommand } from '../../../process/command.js';
import { HostRequirementError } from '../../errors.js';
import { GroupCommit } from './group-commit.js';
import { type FirewallChange, mergeChanges, renderChange } from './rules.js';

const lockWaitSeconds = 10;

/** Applies changes with `iptables-restore`: all changes that are asked for at once in one call, each all or nothing. */
export class Firewall {
  readonly #changes = new GroupCommit<FirewallChange>((changes) => restore(mergeChanges(changes)));

  /** @throws CommandError with the line that was refused; then nothing has changed */
  async apply(change: FirewallChange): Promise<void> {
    if (change.nat.length === 0 && change.filter.length === 0) return;
    await this.#changes.add(change);
  }

  /** The text of `iptables-save`, once all changes under way are made. */
  async saved(): Promise<string> {
    await this.#changes.idle();
    return (await run('iptables-save', [])).stdout;
  }
}

async function restore(change: FirewallChange): Promise<void> {
  const text = renderChange(change);
  await run('iptables-restore', [`--wait=${lockWaitSeconds}`, '--noflush'], text);
}

async function run(program: string, args: string[], input?: string) {
  try {
    return await runCommand(program, args, input === undefined ? {} : { input });
  } catch (error) {
    const cause = error instanceof CommandError ? error.cause : undefined;
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') {
      throw new HostRequirementError(`${program} is missing: apt-get install iptables`, { cause: error });
    }
    throw error;
  }
}

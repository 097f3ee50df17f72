import { CommandError } from '../../../../process/command.js';
import type { Launcher } from '../../../../process/launcher.js';
import { runHostProgram } from '../../host-program.js';
import { GroupCommit } from '../group-commit.js';
import { type FirewallChange, mergeChanges, renderChange } from './rules.js';

interface Application {
  change: FirewallChange;
  onApplied: () => void;
}

const lockWaitSeconds = 10;
const restoreProgram = 'iptables-restore';
const timeoutMs = 30_000;

/** Applies changes with `iptables-restore`: all changes that are asked for at once in one call, each all or nothing. */
export class Firewall {
  readonly #changes = new GroupCommit<Application>((group) => this.#alone(() => this.#applyGroup(group)));
  readonly #launcher: Launcher | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(launcher?: Launcher) {
    this.#launcher = launcher;
  }

  /**
   * @param onApplied called before anything else is applied, so that a `rewrite` that comes next sees its effect
   * @throws CommandError with the line that was refused; then nothing has changed
   */
  async apply(change: FirewallChange, onApplied: () => void = () => {}): Promise<void> {
    if (change.nat.length === 0 && change.filter.length === 0) onApplied();
    else await this.#changes.add({ change, onApplied });
  }

  /** Applies what follows from the present state, told as `iptables-save` prints it; nothing else happens between. */
  async rewrite(changeFrom: (saved: string) => FirewallChange): Promise<void> {
    await this.#alone(async () => {
      const { stdout } = await runHostProgram('iptables', 'iptables-save', []);
      await this.#restore(changeFrom(stdout));
    });
  }

  #alone(work: () => Promise<void>): Promise<void> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {});
    return done;
  }

  async #applyGroup(group: Application[]): Promise<void> {
    await this.#restore(mergeChanges(group.map(({ change }) => change)));
    for (const { onApplied } of group) onApplied();
  }

  async #restore(change: FirewallChange): Promise<void> {
    const input = renderChange(change);
    if (input === '') return;
    const args = [`--wait=${lockWaitSeconds}`, '--noflush'];
    if (!this.#launcher) {
      await runHostProgram('iptables', restoreProgram, args, { input });
      return;
    }
    const { exitCode, stderr } = await this.#launcher.launch({ program: restoreProgram, args, input, timeoutMs });
    if (exitCode !== 0) throw new CommandError(restoreProgram, exitCode, stderr);
  }
}

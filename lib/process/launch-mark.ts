import { randomUUID } from 'node:crypto';
import { type ProcessIdentity, signalProcess } from './identity.js';
import { killAll, markOf, processesByMark } from './marked-processes.js';

/** Environment variable of a program that is launched, and of what it starts; its value is the launch's own. */
const variable = 'ISTHMUS_LAUNCH';
/** What the kernel may take to end processes that were killed. */
const deathPatienceMs = 5_000;

/** By it all that a program has started is known, also after its parents are gone. */
export class LaunchMark {
  readonly #value: string;

  private constructor(value: string) {
    this.#value = value;
  }

  /** One that no process has yet. */
  static create(): LaunchMark {
    return new LaunchMark(randomUUID());
  }

  /** To be among the variables of the program. */
  get environment(): Record<string, string> {
    return { [variable]: this.#value };
  }

  /**
   * Kills the program and all that it has started, and resolves when none of that is left. What does not die within
   * five seconds waits in the kernel for a device, and nobody can do more.
   */
  async end(): Promise<void> {
    const members = () => processesByMark(variable).get(this.#value) ?? [];
    await killAll(members, { timeoutMs: deathPatienceMs });
  }

  /** As `end`, for a program that was launched by anybody, an agent before this one among them. Nothing when it is gone. */
  static async endLaunch(program: ProcessIdentity): Promise<void> {
    const value = markOf(program.pid, variable);
    if (value !== undefined) await new LaunchMark(value).end();
    signalProcess(program, 'SIGKILL');
  }
}

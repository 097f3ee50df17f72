import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { OciSettings } from './oci.js';
import type { EngineAnswer, EngineOrder } from './oci-child.js';
import { specProgram } from './typescript.js';

/** An engine in a process of its own, which can be killed without a warning. */
export class EngineProcess {
  readonly #child: ChildProcess;
  readonly #pending = new Map<number, { resolve: (result: unknown) => void; reject: (error: Error) => void }>();
  #count = 0;

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.on('message', (message) => this.#settle(message as EngineAnswer));
    child.on('exit', () => {
      for (const { reject } of this.#pending.values()) reject(new Error('the engine was killed'));
      this.#pending.clear();
    });
  }

  /** Resolves when the engine is started. */
  static async start(settings: OciSettings): Promise<EngineProcess> {
    const execArgv = specProgram('spec/support/oci-child.ts');
    const child = fork(execArgv.pop()!, [JSON.stringify(settings)], { execArgv });
    const [first] = await Promise.race([
      once(child, 'message'),
      once(child, 'exit').then(([status]) => {
        throw new Error(`the engine ended with ${status}`);
      }),
    ]);
    if (!first.ready) throw new Error(`the engine said ${JSON.stringify(first)}`);
    return new EngineProcess(child);
  }

  /** @throws with the engine's text, or when it is killed before it answers */
  ask(order: EngineOrder): Promise<unknown> {
    this.#count += 1;
    const number = this.#count;
    return new Promise((resolve, reject) => {
      this.#pending.set(number, { resolve, reject });
      this.#child.send({ number, order }, (error) => error && reject(error));
    });
  }

  /** Sends KILL and waits until it is gone. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await gone;
  }

  #settle(answer: EngineAnswer): void {
    const pending = this.#pending.get(answer.number);
    this.#pending.delete(answer.number);
    if ('error' in answer) pending?.reject(new Error(answer.error));
    else pending?.resolve(answer.result);
  }
}

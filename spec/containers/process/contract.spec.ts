import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ContainerEngine } from '../../../lib/containers/engine.js';
import { createProcessEngine } from '../../../lib/containers/process/process-engine.js';
import { silentLogger } from '../../../lib/logging/logger.js';
import { describeEngineContract, type EngineSubject } from '../engine-contract.js';

class ProcessEngineSubject implements EngineSubject {
  /** There is no image; any directory will do. */
  readonly rootfs = '/';

  private constructor(
    private readonly directory: string,
    public engine: ContainerEngine,
  ) {}

  static async start(): Promise<ProcessEngineSubject> {
    const directory = await mkdtemp(join(tmpdir(), 'process-contract-'));
    const subject = new ProcessEngineSubject(directory, newEngine(directory));
    await subject.engine.start();
    return subject;
  }

  async restart(): Promise<void> {
    await this.engine.stop();
    this.engine = newEngine(this.directory);
    await this.engine.start();
  }

  async dispose(): Promise<void> {
    for (const { handle } of await this.engine.list()) await this.engine.destroy(handle);
    await this.engine.release();
    await rm(this.directory, { recursive: true });
  }
}

function newEngine(directory: string): ContainerEngine {
  return createProcessEngine({ depotDirectory: join(directory, 'depot'), logger: silentLogger });
}

describeEngineContract('processes without isolation', {
  makeSubject: () => ProcessEngineSubject.start(),
  isIsolated: false,
});

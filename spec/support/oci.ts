import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ContainerEngine } from '../../lib/containers/engine.js';
import { createOciEngine, type OciEngineOptions } from '../../lib/containers/oci/oci-engine.js';
import { type Logger, silentLogger } from '../../lib/logging/logger.js';
import type { EngineSubject } from '../containers/engine-contract.js';
import { takeNetwork, takePorts } from './host-share.js';
import { expectNothingLeft } from './leaks.js';
import { stackRootfs } from './stack.js';

/** What keeps an engine of a spec apart from those that run beside it. */
export type OciSettings = Omit<OciEngineOptions, 'logger'>;

/** Settings with a depot, a network and ports that no other engine uses. */
export async function makeOciSettings(): Promise<OciSettings> {
  return {
    depotDirectory: join(await mkdtemp(join(tmpdir(), 'oci-')), 'depot'),
    networkPool: takeNetwork(24),
    portPool: takePorts(100),
  };
}

export interface OciSubject extends EngineSubject {
  readonly settings: OciSettings;
  /** Takes the place of an engine that was killed. */
  start(): Promise<ContainerEngine>;
}

/** An engine of a spec of its own; `dispose` fails when it leaves anything on the host. */
export async function startOciEngine(
  options: Partial<OciSettings> & { logger?: Logger; settings?: OciSettings } = {},
): Promise<OciSubject> {
  const { logger = silentLogger, settings: given, ...overrides } = options;
  const settings = { ...(given ?? (await makeOciSettings())), ...overrides };
  const makeEngine = async () => {
    const engine = createOciEngine({ ...settings, logger });
    await engine.start();
    return engine;
  };
  let engine = await makeEngine();
  return {
    settings,
    rootfs: stackRootfs(),
    get engine() {
      return engine;
    },
    async start() {
      engine = await makeEngine();
      return engine;
    },
    async restart() {
      await engine.stop();
      engine = await makeEngine();
    },
    async dispose() {
      const containers = await engine.list();
      await Promise.all(containers.map((container) => engine.destroy(container.handle)));
      await engine.release();
      await expectNothingLeft(settings.depotDirectory);
      await rm(join(settings.depotDirectory, '..'), { recursive: true });
    },
  };
}

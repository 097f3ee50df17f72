import type { ContainerEngine } from '../../../lib/containers/engine.js';
import { createGardenEngine } from '../../../lib/containers/garden/client/garden-engine.js';
import { silentLogger } from '../../../lib/logging/logger.js';
import { startGarden } from '../../support/garden.js';
import { stackRootfs } from '../../support/stack.js';
import { gardenTransports } from '../../support/variants.js';
import { describeEngineContract, type EngineSubject } from '../engine-contract.js';

/** The engine of a Garden server, as a client has it. */
async function startRemoteEngine(kind: 'unix' | 'tcp'): Promise<EngineSubject> {
  const garden = await startGarden();
  const connect = async (): Promise<ContainerEngine> => {
    const address = kind === 'unix' ? { kind, path: garden.socket } : { kind, ...garden.tcp };
    const engine = createGardenEngine({ address, logger: silentLogger });
    await engine.start();
    return engine;
  };
  let engine = await connect();
  return {
    rootfs: stackRootfs(),
    get engine() {
      return engine;
    },
    async restart() {
      await engine.stop();
      await garden.restart();
      engine = await connect();
    },
    async dispose() {
      await engine.release();
      await garden.stop();
    },
  };
}

for (const kind of gardenTransports) {
  describeEngineContract(`a Garden server over ${kind === 'unix' ? 'its socket' : 'TCP'}`, {
    makeSubject: () => startRemoteEngine(kind),
    isIsolated: true,
    lacks: ['limit', 'replay', 'discard'],
  });
}

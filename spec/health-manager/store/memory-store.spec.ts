import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MemoryStore } from '../../../lib/health-manager/store/memory/memory-store.js';
import { StateFile } from '../../../lib/health-manager/store/memory/state-file.js';
import { itKeepsTheState, type StoreSubject, storeTimes } from './store-contract.js';

describe('the store of a health manager that works alone', () => {
  itKeepsTheState(async (): Promise<StoreSubject> => {
    const directory = await mkdtemp(join(tmpdir(), 'health-'));
    let now = 1000;
    const open = async () => {
      const stateFile = new StateFile(join(directory, 'state.db'));
      const store = new MemoryStore({ times: storeTimes, clock: () => now, stateFile });
      await store.start();
      return store;
    };
    let current = await open();
    return {
      store: current,
      async advance(seconds) {
        now += seconds;
      },
      async reopen() {
        await current.stop();
        current = await open();
        return current;
      },
      async dispose() {
        await current.stop();
        await rm(directory, { recursive: true });
      },
    };
  });
});

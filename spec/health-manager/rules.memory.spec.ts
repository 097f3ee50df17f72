import { MemoryStore } from '../../lib/health-manager/store/memory/memory-store.js';
import { itManagesHealth } from './rules.js';
import { storeTimes } from './store/store-contract.js';

describe('a health manager with its own store', () => {
  itManagesHealth(async () => {
    let now = 1_435_672_000;
    const store = new MemoryStore({ times: storeTimes, clock: () => now });
    return {
      store,
      advance: async (seconds) => {
        now += seconds;
      },
      reopen: async () => store,
      dispose: async () => {},
    };
  });
});

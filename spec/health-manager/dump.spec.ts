import { expect } from 'chai';
import { dump } from '../../lib/health-manager/dump.js';
import { rawDump } from '../../lib/health-manager/raw-dump.js';
import { MemoryStore } from '../../lib/health-manager/store/memory/memory-store.js';
import { app, desired, instance, received, start, stop } from '../support/health-records.js';
import { storeTimes } from './store/store-contract.js';

describe('the dump of what a health manager knows', () => {
  it('has a paragraph for each app, as upstream', async () => {
    let now = 1000;
    const store = new MemoryStore({ times: storeTimes, clock: () => now });
    await store.syncDesired([desired(3)]);
    await store.saveHeartbeats([received('2-9d3b', [instance(0, 'RUNNING', { instance: 'g0' })])]);
    await store.bumpActual();
    await store.saveOrders({
      crashCounts: [{ ...app, index: 1, crashCount: 4, createdAt: 900 }],
      starts: [
        start(1, { sendOn: 1025, priority: 0.5 }),
        start(2, { sendOn: 1000, sentOn: 1000, keepAlive: 70, skipVerification: true, priority: 2 }),
      ],
      stops: [stop('g7', { sendOn: 995 })],
    });
    await store.saveOrders({ crashCounts: [], starts: [start(0, { app: 'z-unknown', sendOn: 5000 })], stops: [] });
    now = 1005;
    expect(await dump(store)).to.equal(`Dump - Current timestamp 1005
STORE IS NOT FRESH: Actual state is not fresh
====================

Guid: app-guid | Version: app-version
  Desired: [3] instances, (STARTED, STAGED)
  Heartbeats:
    [0 RUNNING] g0 on 2-9d3
  CrashCounts: [1]:4
  Pending Starts:
    [1] priority:0.50 send:20s
    [2] priority:2.00 NO VERIFICATION send:SENT delete:1m5s
  Pending Stops:
    g7 send:-10s

Guid: z-unknown | Version: app-version
  Desired: NO
  Heartbeats: NONE
  Pending Starts:
    [0] priority:1.00 send:1h6m35s
`);
  });

  it('shows what is there as it stands there, sorted, when it is to be raw', async () => {
    const store = new MemoryStore({ times: storeTimes, clock: () => 1000 });
    await store.syncDesired([desired(3)]);
    await store.saveHeartbeats([received('dea-a', [])]);
    await store.saveMetrics({ StartMissing: 2 });
    await store.holdApp('held', 65);
    expect(await rawDump(store)).to.equal(`Raw Dump - Current timestamp 1000
deas/dea-a [TTL:30s]:
    "dea-a"
desired-fresh [TTL:2m0s]:
    1000
desired/app-guid,app-version [TTL: ∞]:
    {
      "app": "app-guid",
      "version": "app-version",
      "instances": 3,
      "packageState": "STAGED"
    }
holds/held [TTL:1m5s]:
    "held"
metrics/StartMissing [TTL: ∞]:
    2
`);
  });

  it('is short when there is nothing', async () => {
    const store = new MemoryStore({ times: storeTimes, clock: () => 1000 });
    expect(await rawDump(store)).to.equal('Raw Dump - Current timestamp 1000\n');
  });
});

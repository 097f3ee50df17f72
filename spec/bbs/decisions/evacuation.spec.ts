import { expect } from 'chai';
import {
  evacuateClaimed,
  evacuateCrashed,
  evacuateRunning,
  evacuateStopped,
  failedEvacuation,
  removeEvacuating,
} from '../../../lib/bbs/decisions/actual-lrps/evacuation.js';
import { start } from '../../../lib/bbs/decisions/actual-lrps/lifecycle.js';
import { noRows, type Rows } from '../../../lib/bbs/decisions/actual-lrps/rows.js';
import { instanceEvents } from '../../../lib/bbs/decisions/events/instance-events.js';
import { invalidRequest, resourceNotFound } from '../../../lib/bbs/errors.js';
import { DesiredLRPUpdateStrategy } from '../../../lib/bbs/messages/models.js';
import {
  claimed,
  crashed,
  evacuating,
  i,
  instanceOf,
  j,
  key,
  moment,
  netInfo,
  running,
  suspect,
  unclaimed,
} from './instances.js';

const rolling = { instances: 1, updateStrategy: DesiredLRPUpdateStrategy.ROLLING };
const recreate = { instances: 2, updateStrategy: DesiredLRPUpdateStrategy.RECREATE };

function evacuate(
  rows: Rows,
  options: { desired?: typeof rolling | typeof recreate | undefined; runningCount?: number } = {},
) {
  return evacuateRunning(rows, { instance: instanceOf(i), desired: rolling, runningCount: 1, ...options }, moment);
}

describe('the evacuation of a claimed instance', () => {
  it('has another cell take it', () => {
    const { after, isStartWanted, keepContainer } = evacuateClaimed({ ordinary: claimed(i) }, i, moment);
    expect(after.ordinary?.state).to.equal('UNCLAIMED');
    expect([isStartWanted, keepContainer]).to.deep.equal([true, false]);
  });

  it('just removes one that evacuates already, or is suspect', () => {
    const rows = { ordinary: unclaimed(), evacuating: evacuating(running(i)), suspect: suspect(running(j)) };
    expect(evacuateClaimed(rows, i, moment).changes).to.deep.equal([{ before: rows.evacuating }]);
    expect(evacuateClaimed(rows, j, moment).changes).to.deep.equal([{ before: rows.suspect }]);
  });

  it('is refused for an instance that nobody knows', () => {
    expect(evacuateClaimed({ ordinary: claimed(j) }, i, moment)).to.deep.include({
      error: resourceNotFound,
      keepContainer: false,
    });
  });
});

describe('the evacuation of a crashed instance', () => {
  it('counts the crash, but asks no auctioneer and tells of no crash', () => {
    const rows = { ordinary: running(i) };
    const outcome = evacuateCrashed(rows, { key, instanceKey: i, reason: 'boom' }, moment);
    expect(outcome.after.ordinary).to.deep.include({ state: 'UNCLAIMED', crashCount: 1, crashReason: 'boom' });
    expect([outcome.isStartWanted, outcome.keepContainer]).to.deep.equal([false, false]);
    expect(instanceEvents(outcome.changes, '').map(({ name }) => name)).to.deep.equal([
      'actual_lrp_instance_created',
      'actual_lrp_instance_removed',
    ]);
  });

  it('tells of a crash that has to wait', () => {
    const outcome = evacuateCrashed(
      { ordinary: running(i, { crashCount: 2 }) },
      { key, instanceKey: i, reason: 'b' },
      moment,
    );
    expect(instanceEvents(outcome.changes, '').map(({ name }) => name)).to.deep.equal([
      'actual_lrp_crashed',
      'actual_lrp_instance_changed',
    ]);
  });
});

describe('the evacuation of a stopped instance', () => {
  it('removes its row', () => {
    expect(evacuateStopped({ ordinary: running(i) }, i).after.ordinary).to.equal(undefined);
  });

  it('is refused for an instance that nobody knows', () => {
    expect(evacuateStopped(noRows, i)).to.deep.include({ error: resourceNotFound, keepContainer: false });
  });
});

describe('the removal of an evacuating instance', () => {
  it('takes that row only', () => {
    const rows = { ordinary: running(j), evacuating: evacuating(running(i)) };
    expect(removeEvacuating(rows, i).changes).to.deep.equal([{ before: rows.evacuating }]);
    expect(removeEvacuating(rows, j).error).to.deep.equal(resourceNotFound);
  });
});

describe('the evacuation of a running instance', () => {
  it('goes on as the evacuating one beside an index that waits for a cell', () => {
    const row = running(i);
    const { after, changes, isStartWanted, keepContainer } = evacuate({ ordinary: row });
    expect(after.evacuating).to.deep.equal(
      evacuating({ ...row, since: moment.now, modificationTag: { epoch: 'new-epoch', index: 0 } }),
    );
    expect(after.ordinary).to.deep.include({ state: 'UNCLAIMED', modificationTag: { epoch: 'epoch', index: 6 } });
    expect(changes).to.deep.equal([{ before: row, after: after.evacuating }, { after: after.ordinary }]);
    expect([isStartWanted, keepContainer]).to.deep.equal([true, true]);
  });

  it('takes from the rep what is not known of an instance that is only claimed', () => {
    const { after } = evacuate({ ordinary: claimed(i) });
    expect(after.evacuating).to.deep.include({ state: 'RUNNING', actualLrpNetInfo: netInfo, routable: true });
  });

  it('changes nothing when the rep asks again', () => {
    const rows = { ordinary: unclaimed(), evacuating: evacuating(running(i)) };
    expect(evacuate(rows)).to.deep.include({ after: rows, changes: [], keepContainer: true });
  });

  it('notes what the rep says anew, also whether it is routable', () => {
    const rows = { ordinary: unclaimed(), evacuating: evacuating(running(i, { routable: false })) };
    const { after, changes } = evacuate(rows);
    expect(after.evacuating).to.deep.include({ routable: true, modificationTag: { epoch: 'epoch', index: 6 } });
    expect(instanceEvents(changes, '').map(({ name }) => name)).to.deep.equal(['actual_lrp_instance_changed']);
  });

  it('brings back an evacuating row that was lost', () => {
    const { after, keepContainer } = evacuate({ ordinary: claimed(j) });
    expect(after.evacuating).to.deep.include({ state: 'RUNNING', actualLrpInstanceKey: i });
    expect(keepContainer).to.equal(true);
  });

  it('ends when its replacement runs, or has crashed too often', () => {
    for (const ordinary of [running(j), crashed(3)]) {
      const rows = { ordinary, evacuating: evacuating(running(i)) };
      expect(evacuate(rows)).to.deep.include({ keepContainer: false, changes: [{ before: rows.evacuating }] });
    }
  });

  it('ends when the replacement starts: that is told first', () => {
    const rows = { ordinary: claimed(j), evacuating: evacuating(running(i)) };
    const { after, changes } = start(rows, instanceOf(j), moment);
    expect(instanceEvents(changes, '').map(({ name }) => name)).to.deep.equal([
      'actual_lrp_instance_changed',
      'actual_lrp_instance_removed',
    ]);
    expect(evacuate(after).keepContainer).to.equal(false);
  });

  it('keeps nothing where there are no rows, or no desired LRP', () => {
    expect(evacuate(noRows)).to.deep.include({ after: noRows, keepContainer: false });
    const rows = { ordinary: unclaimed(), evacuating: evacuating(running(i)) };
    expect(evacuate(rows, { desired: undefined })).to.deep.include({
      keepContainer: false,
      changes: [{ before: rows.evacuating }],
    });
    const alone = { ordinary: running(i) };
    expect(evacuate(alone, { desired: undefined })).to.deep.include({ after: alone, keepContainer: false });
  });

  it('keeps nothing where another instance evacuates already', () => {
    const rows = { ordinary: unclaimed(), evacuating: evacuating(running(j)) };
    expect(evacuate(rows)).to.deep.include({ after: rows, keepContainer: false });
  });

  it('takes a suspect instance out of suspicion', () => {
    const rows = { ordinary: unclaimed(), suspect: suspect(running(i)) };
    const { after, isStartWanted, keepContainer } = evacuate(rows);
    expect([after.suspect, after.ordinary, after.evacuating?.state]).to.deep.equal([
      undefined,
      rows.ordinary,
      'RUNNING',
    ]);
    expect([isStartWanted, keepContainer]).to.deep.equal([false, true]);
  });

  it('of a process that is recreated waits for the other instances', () => {
    const rows = { ordinary: running(i) };
    expect(evacuate(rows, { desired: recreate, runningCount: 1 })).to.deep.include({
      after: rows,
      keepContainer: true,
    });
    const { after, isStartWanted, keepContainer } = evacuate(rows, { desired: recreate, runningCount: 2 });
    expect(after.ordinary?.state).to.equal('UNCLAIMED');
    expect([after.evacuating, isStartWanted, keepContainer]).to.deep.equal([undefined, true, false]);
  });

  it('of a process that is recreated removes what is not ordinary', () => {
    const rows = { ordinary: unclaimed(), suspect: suspect(running(i)) };
    expect(evacuate(rows, { desired: recreate })).to.deep.include({
      keepContainer: false,
      changes: [{ before: rows.suspect }],
    });
    expect(evacuate({ ordinary: unclaimed() }, { desired: recreate }).keepContainer).to.equal(false);
  });

  it('that cannot be carried out keeps what runs or will run', () => {
    expect(failedEvacuation('running', invalidRequest)).to.deep.equal({ error: invalidRequest, keepContainer: true });
    expect(failedEvacuation('claimed', invalidRequest).keepContainer).to.equal(true);
    expect(failedEvacuation('crashed', invalidRequest).keepContainer).to.equal(false);
    expect(failedEvacuation('stopped', invalidRequest).keepContainer).to.equal(false);
  });
});

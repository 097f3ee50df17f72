import { expect } from 'chai';
import fc from 'fast-check';
import {
  claim,
  crash,
  fail,
  remove,
  retire,
  start,
  stop,
  unclaim,
} from '../../../lib/bbs/decisions/actual-lrps/lifecycle.js';
import type { Outcome } from '../../../lib/bbs/decisions/actual-lrps/outcome.js';
import {
  isRestartDue,
  nextCrashCount,
  restartWaitSeconds,
} from '../../../lib/bbs/decisions/actual-lrps/restart-policy.js';
import { differences, listRows, noRows, placeOf, type Rows } from '../../../lib/bbs/decisions/actual-lrps/rows.js';
import * as upkeep from '../../../lib/bbs/decisions/actual-lrps/upkeep.js';
import { storedText } from '../../../lib/bbs/decisions/stored-text.js';
import * as errors from '../../../lib/bbs/errors.js';
import type { ActualLRP, ActualLRPInstanceKey } from '../../../lib/bbs/messages/models.js';
import {
  claimed,
  crashed,
  evacuating,
  i,
  instanceOf,
  internalRoutes,
  j,
  key,
  moment,
  netInfo,
  now,
  running,
  second,
  since,
  suspect,
  tags,
  unclaimed,
} from './instances.js';

const empty = { instanceGuid: '', cellId: '' };

function expectNothing(outcome: Outcome, rows: Rows): void {
  expect(outcome.error).to.equal(undefined);
  expect(outcome.after).to.equal(rows);
  expect(outcome.changes).to.deep.equal([]);
}

function expectRefusal(outcome: Outcome, rows: Rows, error: errors.BbsError): void {
  expect(outcome.error).to.deep.equal(error);
  expect(outcome.after).to.equal(rows);
  expect(outcome.changes).to.deep.equal([]);
  expect(outcome.isStartWanted).to.equal(false);
}

describe('a claim', () => {
  it('gives an unclaimed index to the instance', () => {
    const row = unclaimed({ placementError: 'no room', routable: false });
    const { after, changes } = claim({ ordinary: row }, i, moment);
    expect(after.ordinary).to.deep.equal({
      ...row,
      state: 'CLAIMED',
      actualLrpInstanceKey: i,
      placementError: '',
      since: now,
      modificationTag: { epoch: 'epoch', index: 6 },
    });
    expect(changes).to.deep.equal([{ before: row, after: after.ordinary }]);
  });

  it('takes a running instance back to claimed, without its addresses', () => {
    const { after } = claim({ ordinary: running(i) }, i, moment);
    expect(after.ordinary).to.deep.include({ state: 'CLAIMED', actualLrpInternalRoutes: internalRoutes });
    expect(after.ordinary?.actualLrpNetInfo.address).to.equal('');
  });

  it('changes nothing when it comes again', () => {
    const rows = { ordinary: claimed(i) };
    expectNothing(claim(rows, i, moment), rows);
  });

  it('changes nothing when it is the suspect instance that makes it', () => {
    const rows = { ordinary: unclaimed(), suspect: suspect(running(i)) };
    expectNothing(claim(rows, i, moment), rows);
  });

  for (const [what, rows, error] of [
    ['an index that is not there', noRows, errors.resourceNotFound],
    ['an index that another instance has claimed', { ordinary: claimed(j) }, errors.cannotBeClaimed],
    ['an index at which another instance runs', { ordinary: running(j) }, errors.cannotBeClaimed],
    ['a crashed index', { ordinary: crashed(3) }, errors.cannotBeClaimed],
  ] as const) {
    it(`is refused for ${what}`, () => {
      expectRefusal(claim(rows, i, moment), rows, error);
    });
  }
});

describe('a start', () => {
  it('brings back a row that was lost', () => {
    const { after, changes } = start(noRows, instanceOf(i), moment);
    expect(after.ordinary).to.deep.equal(running(i, { since: now, modificationTag: { epoch: 'new-epoch', index: 0 } }));
    expect(changes).to.deep.equal([{ before: undefined, after: after.ordinary }]);
  });

  it('writes everything over a claim, and clears the placement error', () => {
    const { after } = start({ ordinary: claimed(i, { placementError: 'x', crashCount: 2 }) }, instanceOf(i), moment);
    expect(after.ordinary).to.deep.equal(
      running(i, { since: now, modificationTag: { epoch: 'epoch', index: 6 }, crashCount: 2 }),
    );
  });

  it('needs no claim, and may overtake that of another instance', () => {
    expect(start({ ordinary: unclaimed() }, instanceOf(i), moment).after.ordinary?.state).to.equal('RUNNING');
    expect(start({ ordinary: claimed(j) }, instanceOf(i), moment).after.ordinary?.actualLrpInstanceKey).to.equal(i);
  });

  it('writes nothing when all of it is known, as most are', () => {
    const rows = { ordinary: running(i) };
    const again = instanceOf(i, {
      metricTags: new Map(tags),
      netInfo: { ...netInfo },
      internalRoutes: [...internalRoutes],
    });
    expectNothing(start(rows, again, moment), rows);
  });

  for (const [what, changes] of [
    ['routable', { routable: false }],
    ['zone', { availabilityZone: 'z2' }],
    ['net info', { netInfo: { ...netInfo, instanceAddress: '10.255.0.1' } }],
    ['internal routes', { internalRoutes: [] }],
    ['metric tags', { metricTags: new Map([['source_id', 'q']]) }],
  ] as const) {
    it(`writes a change of its ${what}`, () => {
      const { after } = start({ ordinary: running(i) }, instanceOf(i, changes), moment);
      expect(after.ordinary?.modificationTag.index).to.equal(6);
    });
  }

  it('ends what ran in its place meanwhile', () => {
    const rows = {
      ordinary: claimed(j),
      evacuating: evacuating(running(i)),
      suspect: suspect(running({ ...i, cellId: 'x' })),
    };
    const { after, changes } = start(rows, instanceOf(j), moment);
    expect(listRows(after)).to.deep.equal([after.ordinary]);
    expect(changes.map(({ before }) => before)).to.deep.equal([rows.ordinary, rows.evacuating, rows.suspect]);
  });

  it('ends it also when it is known itself already', () => {
    const rows = { ordinary: running(j), suspect: suspect(running(i)) };
    expect(start(rows, instanceOf(j), moment).changes).to.deep.equal([{ before: rows.suspect }]);
  });

  it('changes nothing when it is the suspect instance that makes it', () => {
    const rows = { ordinary: unclaimed(), suspect: suspect(running(i)) };
    expectNothing(start(rows, instanceOf(i, { routable: false }), moment), rows);
  });

  for (const [what, rows] of [
    ['an index at which another instance runs', { ordinary: running(j) }],
    ['a crashed index', { ordinary: crashed(3) }],
    ['an index of another domain', { ordinary: claimed(i, { actualLrpKey: { ...key, domain: 'other' } }) }],
  ] as const) {
    it(`is refused for ${what}`, () => {
      expectRefusal(start(rows, instanceOf(i), moment), rows, errors.cannotBeStarted);
    });
  }
});

describe('a crash', () => {
  const crashOf = (rows: Rows, reason = 'Exited with status 17') =>
    crash(rows, { key, instanceKey: i, reason }, moment);

  it('is restarted at once for the first and the second time', () => {
    for (const crashCount of [0, 1]) {
      const { after, isStartWanted } = crashOf({ ordinary: running(i, { crashCount }) });
      expect(after.ordinary).to.deep.include({
        state: 'UNCLAIMED',
        crashCount: crashCount + 1,
        crashReason: 'Exited with status 17',
        actualLrpInstanceKey: empty,
        since: now,
        modificationTag: { epoch: 'epoch', index: 6 },
      });
      expect(after.ordinary?.actualLrpNetInfo.address).to.equal('');
      expect(isStartWanted).to.equal(true);
    }
  });

  it('waits from the third time on', () => {
    const { after, isStartWanted } = crashOf({ ordinary: claimed(i, { crashCount: 2 }) });
    expect(after.ordinary).to.deep.include({ state: 'CRASHED', crashCount: 3, actualLrpInstanceKey: empty });
    expect(isStartWanted).to.equal(false);
  });

  it('leaves routes, tags, zone and whether it is routable as they were', () => {
    expect(crashOf({ ordinary: running(i) }).after.ordinary).to.deep.include({
      actualLrpInternalRoutes: internalRoutes,
      metricTags: tags,
      routable: true,
      availabilityZone: 'z1',
    });
  });

  it('counts from one again after five minutes of running', () => {
    const row = running(i, { crashCount: 7, since: now - 301n * second });
    expect(crashOf({ ordinary: row }).after.ordinary?.crashCount).to.equal(1);
    expect(crashOf({ ordinary: { ...row, state: 'CLAIMED' } }).after.ordinary?.crashCount).to.equal(8);
  });

  it('is told with its whole reason, and stored with the beginning', () => {
    const { after, changes } = crashOf({ ordinary: running(i) }, 'x'.repeat(2000));
    expect(after.ordinary?.crashReason).to.equal(`${'x'.repeat(1013)}(truncated)`);
    expect(changes[0]?.after?.crashReason).to.have.length(2000);
  });

  it('of a suspect instance only removes that', () => {
    const rows = { ordinary: claimed(j), suspect: suspect(running(i)) };
    const { after, changes, isStartWanted } = crashOf(rows);
    expect(after).to.deep.equal({ ordinary: rows.ordinary, suspect: undefined });
    expect(changes).to.deep.equal([{ before: rows.suspect }]);
    expect(isStartWanted).to.equal(false);
  });

  for (const [what, rows, error] of [
    ['an index that is not there', noRows, errors.resourceNotFound],
    ['an unclaimed index', { ordinary: unclaimed() }, errors.cannotBeCrashed],
    ['another instance', { ordinary: running(j) }, errors.cannotBeCrashed],
    ['a crashed index', { ordinary: crashed(3) }, errors.cannotBeCrashed],
  ] as const) {
    it(`is refused for ${what}`, () => {
      expectRefusal(crashOf(rows), rows, error);
    });
  }
});

describe('a failure to place', () => {
  it('is noted on the unclaimed row', () => {
    const row = unclaimed();
    const { after, changes } = fail({ ordinary: row }, 'found no compatible cell', moment);
    expect(after.ordinary).to.deep.equal({
      ...row,
      placementError: 'found no compatible cell',
      since: now,
      modificationTag: { epoch: 'epoch', index: 6 },
    });
    expect(changes).to.have.length(1);
  });

  it('is no error where there is no row', () => {
    expectNothing(fail(noRows, 'x', moment), noRows);
  });

  it('is refused once the index is claimed', () => {
    const rows = { ordinary: claimed(i) };
    expectRefusal(fail(rows, 'x', moment), rows, errors.cannotBeFailed);
  });
});

describe('a removal', () => {
  it('takes the row of the instance that is named, or whoever is there', () => {
    const rows = { ordinary: running(i) };
    for (const instanceKey of [i, undefined]) {
      const { after, changes } = remove(rows, instanceKey);
      expect(after.ordinary).to.equal(undefined);
      expect(changes).to.deep.equal([{ before: rows.ordinary }]);
    }
  });

  it('is refused for another instance, and where there is no row', () => {
    const rows = { ordinary: running(i) };
    expectRefusal(remove(rows, j), rows, errors.resourceNotFound);
    const onlySuspect = { suspect: suspect(running(i)) };
    expectRefusal(remove(onlySuspect, i), onlySuspect, errors.resourceNotFound);
  });
});

describe('a retirement', () => {
  it('removes a row that no instance has', () => {
    for (const row of [unclaimed(), crashed(3)]) {
      expect(retire({ ordinary: row }, () => true)).to.deep.include({ changes: [{ before: row }], stops: [] });
    }
  });

  it('removes the row of an instance whose cell is unknown', () => {
    expect(retire({ ordinary: running(i) }, () => false).after.ordinary).to.equal(undefined);
  });

  it('has the rep stop a running instance, whose row stays until then', () => {
    const rows = { ordinary: running(i) };
    const { after, changes, stops } = retire(rows, (cellId) => cellId === i.cellId);
    expect(after).to.equal(rows);
    expect(stops).to.deep.equal([rows.ordinary]);
    expect(changes).to.deep.equal([{ before: rows.ordinary }]);
  });

  it('is refused where there is no row', () => {
    expectRefusal(
      retire(noRows, () => true),
      noRows,
      errors.resourceNotFound,
    );
  });
});

describe('a stop', () => {
  it('removes rows that wait and has reps stop the others, but not those that evacuate', () => {
    const rows = { ordinary: unclaimed(), suspect: suspect(running(i)), evacuating: evacuating(running(j)) };
    const { after, changes, stops } = stop(rows);
    expect(changes).to.deep.equal([{ before: rows.ordinary }]);
    expect(stops).to.deep.equal([rows.suspect]);
    expect(after.evacuating).to.equal(rows.evacuating);
  });

  it('leaves the row of a running instance to its rep', () => {
    const rows = { ordinary: running(i) };
    expect(stop(rows)).to.deep.include({ after: rows, stops: [rows.ordinary] });
  });
});

describe('what convergence does to an index', () => {
  it('creates a row that nobody has, with routable present and false', () => {
    const { after, isStartWanted } = upkeep.create(noRows, key, moment);
    expect(after.ordinary).to.deep.equal(
      unclaimed({ since: now, modificationTag: { epoch: 'new-epoch', index: 0 }, routable: false }),
    );
    expect(isStartWanted).to.equal(true);
  });

  it('creates none where there is one by now', () => {
    const rows = { ordinary: claimed(i) };
    expectNothing(upkeep.create(rows, key, moment), rows);
  });

  it('asks again for what is unclaimed, without a change', () => {
    const rows = { ordinary: unclaimed() };
    expect(upkeep.restart(rows, rows.ordinary, moment)).to.deep.include({
      after: rows,
      changes: [],
      isStartWanted: true,
    });
  });

  it('takes what crashed back to unclaimed, with its count and reason', () => {
    const row = crashed(4, { crashReason: 'boom' });
    const { after, isStartWanted } = upkeep.restart({ ordinary: row }, row, moment);
    expect(after.ordinary).to.deep.include({ state: 'UNCLAIMED', crashCount: 4, crashReason: 'boom' });
    expect(isStartWanted).to.equal(true);
  });

  it('leaves alone an instance that started after it looked', () => {
    const rows = { ordinary: running(i, { modificationTag: { epoch: 'epoch', index: 6 } }) };
    for (const seen of [crashed(3), unclaimed(), claimed(i)]) {
      expectNothing(upkeep.restart(rows, seen, moment), rows);
      expectNothing(upkeep.loseCell(rows, seen, moment), rows);
    }
  });

  it('keeps the instance of a lost cell as a suspect, tag untouched, beside a new row', () => {
    const row = running(i);
    const { after, changes, isStartWanted } = upkeep.loseCell({ ordinary: row }, row, moment);
    expect(after.suspect).to.deep.equal(suspect(row));
    expect(after.ordinary).to.deep.include({ state: 'UNCLAIMED', modificationTag: { epoch: 'new-epoch', index: 0 } });
    expect(changes).to.deep.equal([{ before: row, after: after.suspect }, { after: after.ordinary }]);
    expect(isStartWanted).to.equal(true);
  });

  it('unclaims the replacement when its cell is lost too', () => {
    const rows = { ordinary: claimed(j), suspect: suspect(running(i)) };
    const { after, isStartWanted } = upkeep.loseCell(rows, rows.ordinary, moment);
    expect(after).to.deep.include({ suspect: rows.suspect });
    expect(after.ordinary?.state).to.equal('UNCLAIMED');
    expect(isStartWanted).to.equal(true);
  });

  it('promotes the suspect whose cell is back, and drops the replacement after it', () => {
    const rows = { ordinary: unclaimed(), suspect: suspect(running(i)) };
    const { after, changes } = upkeep.promote(rows, rows.suspect);
    expect(after).to.deep.equal({ ordinary: running(i), suspect: undefined });
    expect(changes).to.deep.equal([{ before: rows.suspect, after: running(i) }, { before: rows.ordinary }]);
  });

  it('dismisses the row that it saw, and no other', () => {
    const rows = { ordinary: running(j), suspect: suspect(running(i)), evacuating: evacuating(running(i)) };
    expect(upkeep.dismiss(rows, rows.suspect).changes).to.deep.equal([{ before: rows.suspect }]);
    expect(upkeep.dismiss(rows, rows.evacuating).after.suspect).to.equal(rows.suspect);
    const later = { ordinary: rows.ordinary };
    expectNothing(upkeep.dismiss(later, rows.suspect), later);
  });
});

describe('the restart policy', () => {
  it('waits longer from crash to crash, and for ever in the end', () => {
    const waits = [1, 2, 3, 4, 5, 6, 7, 8, 199, 200].map(restartWaitSeconds);
    expect(waits).to.deep.equal([0, 0, 30, 60, 120, 240, 480, 960, 960, undefined]);
  });

  it('lets a restart happen at the very end of the wait', () => {
    expect(isRestartDue(3, since, since + 30n * second - 1n)).to.equal(false);
    expect(isRestartDue(3, since, since + 30n * second)).to.equal(true);
    expect(isRestartDue(200, since, since + 10_000n * second)).to.equal(false);
  });

  it('counts five minutes to the nanosecond', () => {
    const crash = { crashCount: 4, wasRunning: true, since: 0n };
    expect(nextCrashCount({ ...crash, now: 300n * second })).to.equal(5);
    expect(nextCrashCount({ ...crash, now: 300n * second + 1n })).to.equal(1);
  });
});

describe('stored texts', () => {
  it('are whole up to 1023 bytes', () => {
    expect(storedText('x'.repeat(1023))).to.have.length(1023);
    expect(storedText('x'.repeat(1024))).to.equal(`${'x'.repeat(1013)}(truncated)`);
  });

  it('lose a character that would be cut as a whole', () => {
    expect(storedText('é'.repeat(600))).to.equal(`${'é'.repeat(506)}(truncated)`);
    expect(storedText(`${'é'.repeat(505)}€${'é'.repeat(100)}`)).to.equal(`${'é'.repeat(505)}€(truncated)`);
    expect(storedText(`${'é'.repeat(506)}€${'é'.repeat(100)}`)).to.equal(`${'é'.repeat(506)}(truncated)`);
  });
});

describe('the rows of an index, whatever is called in whatever order', () => {
  const instances = fc.constantFrom(i, j, { instanceGuid: 'k', cellId: 'c' });
  const calls = fc.oneof(
    instances.map((by) => (rows: Rows) => claim(rows, by, moment)),
    instances.map((by) => (rows: Rows) => start(rows, instanceOf(by), moment)),
    instances.map((by) => (rows: Rows) => crash(rows, { key, instanceKey: by, reason: 'r' }, moment)),
    instances.map((by) => (rows: Rows) => remove(rows, by)),
    fc.constant((rows: Rows) => fail(rows, 'no room', moment)),
    fc.constant((rows: Rows) => unclaim(rows, moment)),
    fc.constant((rows: Rows) => upkeep.create(rows, key, moment)),
    fc.constant((rows: Rows) => (rows.ordinary ? upkeep.loseCell(rows, rows.ordinary, moment) : stop(rows))),
    fc.constant((rows: Rows) => (rows.suspect ? upkeep.promote(rows, rows.suspect) : stop(rows))),
  );

  function expectSound(row: ActualLRP): void {
    const hasInstance = (instanceKey: ActualLRPInstanceKey) => instanceKey.instanceGuid !== '';
    expect(hasInstance(row.actualLrpInstanceKey)).to.equal(row.state === 'CLAIMED' || row.state === 'RUNNING');
    if (row.state !== 'RUNNING') expect(row.actualLrpNetInfo.address).to.equal('');
    if (row.state === 'CRASHED') expect(row.crashCount).to.be.at.least(3);
  }

  it('stay in their places, and have an instance only when it is claimed or runs', () => {
    fc.assert(
      fc.property(fc.array(calls, { maxLength: 30 }), (sequence) => {
        let rows: Rows = noRows;
        for (const call of sequence) {
          const { after, error, changes } = call(rows);
          if (error) expect([after, changes]).to.deep.equal([rows, []]);
          for (const place of ['ordinary', 'suspect', 'evacuating'] as const) {
            const row = after[place];
            if (!row) continue;
            expect(placeOf(row)).to.equal(place);
            if (place === 'ordinary' || row.state === 'RUNNING') expectSound(row);
          }
          rows = after;
        }
      }),
    );
  });

  it('are written where they differ, and nowhere else', () => {
    const before = { ordinary: running(i), evacuating: evacuating(running(j)) };
    const { after } = upkeep.loseCell(before, before.ordinary, moment);
    expect(differences(before, after)).to.deep.equal([
      { before: before.ordinary, after: after.ordinary },
      { before: undefined, after: after.suspect },
    ]);
    expect(differences(before, before)).to.deep.equal([]);
    expect(differences(before, { ordinary: before.ordinary })).to.deep.equal([
      { before: before.evacuating, after: undefined },
    ]);
  });

  it('change exactly as the changes say', () => {
    fc.assert(
      fc.property(fc.array(calls, { maxLength: 30 }), (sequence) => {
        let rows: Rows = noRows;
        for (const call of sequence) {
          const { after, changes } = call(rows);
          const gone = new Set(changes.map(({ before }) => before));
          const kept = listRows(rows).filter((row) => !gone.has(row));
          const come = changes.map((change) => change.after).filter((row) => row !== undefined);
          expect([...kept, ...come].sort(byPlace)).to.deep.equal(listRows(after).sort(byPlace));
          rows = after;
        }
      }),
    );
  });

  function byPlace(a: ActualLRP, b: ActualLRP): number {
    return a.presence - b.presence;
  }
});

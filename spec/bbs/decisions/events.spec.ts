import { expect } from 'chai';
import { evacuateRunning } from '../../../lib/bbs/decisions/actual-lrps/evacuation.js';
import { claim, crash, fail, retire, start, unclaim } from '../../../lib/bbs/decisions/actual-lrps/lifecycle.js';
import type { Outcome } from '../../../lib/bbs/decisions/actual-lrps/outcome.js';
import { noRows, type Rows } from '../../../lib/bbs/decisions/actual-lrps/rows.js';
import * as upkeep from '../../../lib/bbs/decisions/actual-lrps/upkeep.js';
import { desiredEvents } from '../../../lib/bbs/decisions/events/desired-events.js';
import { type BbsEvent, concernsCell, encodeEvent, eventType } from '../../../lib/bbs/decisions/events/event.js';
import { groupEvents, groupOf } from '../../../lib/bbs/decisions/events/group-events.js';
import { instanceEvents } from '../../../lib/bbs/decisions/events/instance-events.js';
import { decode } from '../../../lib/bbs/messages/codec.js';
import { DesiredLRP } from '../../../lib/bbs/messages/models.js';
import {
  claimed,
  crashed,
  evacuating,
  i,
  instanceOf,
  j,
  key,
  moment,
  running,
  suspect,
  unclaimed,
} from './instances.js';

function shortNames(events: readonly BbsEvent[]): string {
  return events.map(({ name }) => name.replace('actual_lrp_instance_', '').replace('actual_lrp_', '')).join(' ');
}

const crashOf = (rows: Rows) => crash(rows, { key, instanceKey: i, reason: 'boom' }, moment);
const rolling = { instance: instanceOf(i), desired: { instances: 1, updateStrategy: 0 }, runningCount: 1 } as const;

/** docs/protocol/bbs.md §11.3 */
const cases: [what: string, before: Rows, call: (rows: Rows) => Outcome, instance: string, group: string][] = [
  ['a row appears', noRows, (rows) => upkeep.create(rows, key, moment), 'created', 'created'],
  ['an index is claimed', { ordinary: unclaimed() }, (rows) => claim(rows, i, moment), 'changed', 'changed'],
  [
    'a claimed instance runs',
    { ordinary: claimed(i) },
    (rows) => start(rows, instanceOf(i), moment),
    'changed',
    'changed',
  ],
  ['nothing differs', { ordinary: running(i) }, (rows) => start(rows, instanceOf(i), moment), '', ''],
  [
    'another instance overtakes a claim',
    { ordinary: claimed(j) },
    (rows) => start(rows, instanceOf(i), moment),
    'changed',
    'created removed',
  ],
  ['no cell takes it', { ordinary: unclaimed() }, (rows) => fail(rows, 'no room', moment), 'changed', 'changed'],
  ['it is unclaimed', { ordinary: running(i) }, (rows) => unclaim(rows, moment), 'created removed', 'changed'],
  ['it crashes and is restarted', { ordinary: running(i) }, crashOf, 'crashed created removed', 'crashed changed'],
  ['it crashes and waits', { ordinary: running(i, { crashCount: 2 }) }, crashOf, 'crashed changed', 'crashed changed'],
  [
    'it has waited after a crash',
    { ordinary: crashed(3) },
    (rows) => upkeep.restart(rows, rows.ordinary!, moment),
    'created removed',
    'changed',
  ],
  [
    'its cell is lost',
    { ordinary: running(i) },
    (rows) => upkeep.loseCell(rows, rows.ordinary!, moment),
    'changed created',
    'changed',
  ],
  [
    'its cell is back',
    { ordinary: unclaimed(), suspect: suspect(running(i)) },
    (rows) => upkeep.promote(rows, rows.suspect!),
    'changed removed',
    'changed',
  ],
  [
    'a suspect is replaced',
    { ordinary: claimed(j), suspect: suspect(running(i)) },
    (rows) => start(rows, instanceOf(j), moment),
    'changed removed',
    'created removed',
  ],
  ['it is retired', { ordinary: running(i) }, (rows) => retire(rows, () => true), 'removed', 'removed'],
  [
    'it evacuates',
    { ordinary: running(i) },
    (rows) => evacuateRunning(rows, rolling, moment),
    'changed created',
    'created changed',
  ],
  [
    'what evacuated is replaced',
    { ordinary: claimed(j), evacuating: evacuating(running(i)) },
    (rows) => start(rows, instanceOf(j), moment),
    'changed removed',
    'changed removed',
  ],
];

describe('events of actual LRPs', () => {
  for (const [what, before, call, instance, group] of cases) {
    it(`are "${instance}", and for groups "${group}", when ${what}`, () => {
      const { after, changes } = call(before);
      expect(shortNames(instanceEvents(changes, ''))).to.equal(instance);
      expect(shortNames(groupEvents(before, after, changes))).to.equal(group);
    });
  }

  it('carry the instance that crashed, its count and its whole reason', () => {
    const before = { ordinary: running(i) };
    const reason = 'x'.repeat(2000);
    const { after, changes } = crash(before, { key, instanceKey: i, reason }, moment);
    const expected = {
      name: 'actual_lrp_crashed',
      message: { actualLrpKey: key, actualLrpInstanceKey: i, crashCount: 1, crashReason: reason, since: moment.now },
    };
    expect(instanceEvents(changes, 't')[0]).to.deep.equal(expected);
    const groups = groupEvents(before, after, changes);
    expect(groups[0]).to.deep.equal(expected);
    expect(groups[1]).to.have.nested.property('message.after.instance.crashReason', reason);
  });

  it('name the instance that is left when an index loses it without being vacated', () => {
    const before = { ordinary: running(i, { crashCount: 2 }) };
    const [, event] = instanceEvents(crashOf(before).changes, 't');
    expect(event?.message).to.deep.include({ actualLrpInstanceKey: i, traceId: 't' });
  });

  it('leave internal routes and metric tags out of what changed', () => {
    const [event] = instanceEvents(start({ ordinary: claimed(i) }, instanceOf(i), moment).changes, '');
    expect(event).to.have.nested.property('message.after.state', 'RUNNING');
    expect(event).not.to.have.nested.property('message.after.metricTags');
  });

  it('concern the cell whose instance they are about', () => {
    const [changed] = instanceEvents(claim({ ordinary: unclaimed() }, i, moment).changes, '');
    const [created] = instanceEvents([{ after: unclaimed() }], '');
    expect(concernsCell(changed!, i.cellId)).to.equal(true);
    expect(concernsCell(changed!, j.cellId)).to.equal(false);
    expect(concernsCell(created!, i.cellId)).to.equal(false);
  });

  it('of groups concern the cells before and after', () => {
    const before = { ordinary: running(i) };
    const { after, changes } = unclaim(before, moment);
    const [changed] = groupEvents(before, after, changes);
    expect([i, j].map(({ cellId }) => concernsCell(changed!, cellId))).to.deep.equal([true, false]);
  });

  it('are read back from their bytes by their names', () => {
    const [event] = instanceEvents([{ after: running(i) }], 'trace');
    expect(decode(eventType(event!.name)!, encodeEvent(event!))).to.deep.equal(event!.message);
    expect(eventType('toString')).to.equal(undefined);
  });
});

describe('groups', () => {
  it('show the suspect instance unless the ordinary one runs', () => {
    const rows = { ordinary: claimed(j), suspect: suspect(running(i)) };
    expect(groupOf(rows)?.instance).to.equal(rows.suspect);
    expect(groupOf({ ...rows, ordinary: running(j) })?.instance?.actualLrpInstanceKey).to.equal(j);
  });

  it('show what evacuates in a place of its own, and are none without rows', () => {
    const rows = { evacuating: evacuating(running(i)) };
    expect(groupOf(rows)).to.deep.equal({ instance: undefined, evacuating: rows.evacuating });
    expect(groupOf(noRows)).to.equal(undefined);
  });
});

describe('events of desired LRPs', () => {
  const desired = DesiredLRP.create({ processGuid: 'p' });

  it('tell of what was there and what is, with the id of the request', () => {
    const events = desiredEvents({ before: desired, after: { ...desired, instances: 2 } }, 'trace');
    expect(events.map(({ name }) => name)).to.deep.equal(['desired_lrp_changed']);
    expect(events[0]?.message.traceId).to.equal('trace');
    expect(desiredEvents({ before: undefined, after: desired }, '')[0]?.name).to.equal('desired_lrp_created');
    expect(desiredEvents({ before: desired, after: undefined }, '')[0]?.name).to.equal('desired_lrp_removed');
    expect(desiredEvents({ before: undefined, after: undefined }, '')).to.deep.equal([]);
  });

  it('concern every cell', () => {
    const [event] = desiredEvents({ before: undefined, after: desired }, '');
    expect(concernsCell(event!, 'any')).to.equal(true);
  });
});

import { expect } from 'chai';
import { decode } from '../../../../lib/bbs/messages/codec.js';
import {
  DesiredLRP,
  DesiredLRPRunInfo,
  MetricTagValue,
  ProtoRoutes,
  Task,
  TaskState,
} from '../../../../lib/bbs/messages/models.js';
import { KeyRing, Undecodable } from '../../../../lib/bbs/storage/encryption/key-ring.js';
import { actualLrpOf, actualLrpRow } from '../../../../lib/bbs/storage/rows/actual-lrps.js';
import { desiredLrpOf, desiredLrpRow } from '../../../../lib/bbs/storage/rows/desired-lrps.js';
import { taskRow } from '../../../../lib/bbs/storage/rows/tasks.js';
import { actualLrp, desiredLrp } from '../../../support/board-rows.js';
import { filledMessage } from '../../../support/filled-message.js';

const keys = new KeyRing({ activeLabel: 'k', passphrases: { k: 'p' } });
const text = (sealed: string | null) => keys.open(sealed!).toString();
const hex = (sealed: string | null) => keys.open(sealed!).toString('hex');

/** docs/protocol/bbs.md §15 */
describe('rows of the board', () => {
  it('hold a fresh actual LRP in the forms of nothing', () => {
    const row = actualLrpRow(actualLrp('p'), keys);
    expect(hex(row.net_info)).to.equal('0200');
    expect(text(row.internal_routes)).to.equal('[]');
    expect(text(row.metric_tags)).to.equal('{}');
  });

  it("hold an actual LRP's routes and tags as JSON with sorted keys", () => {
    const lrp = actualLrp('p', 0, {
      actualLrpInternalRoutes: [{ hostname: 'h' }, { hostname: 'a&b' }],
      metricTags: new Map([
        ['b', '1'],
        ['\u{1f600}', '4'],
        ['a', '<2>'],
        ['\uffee', '3'],
      ]),
    });
    const row = actualLrpRow(lrp, keys);
    expect(text(row.internal_routes)).to.equal('[{"hostname":"h"},{"hostname":"a\\u0026b"}]');
    expect(text(row.metric_tags)).to.equal('{"a":"\\u003c2\\u003e","b":"1","\uffee":"3","\u{1f600}":"4"}');
    expect(actualLrpOf(row, keys)).to.eql(lrp);
  });

  it('hold a desired LRP without volumes, tags and routes in the forms of nothing', () => {
    const row = desiredLrpRow(desiredLrp('p', { routes: ProtoRoutes.create() }), 1n, keys);
    expect(hex(row.volume_placement)).to.equal('0200');
    expect(row.placement_tags).to.equal('null');
    expect(text(row.routes)).to.equal('{}');
    expect(text(row.metric_tags)).to.equal('{}');
    expect(text(desiredLrpRow(desiredLrp('p'), 1n, keys).routes)).to.equal('null');
    expect(desiredLrpOf(row, keys).desired.routes).to.eql(ProtoRoutes.create());
  });

  it("hold a desired LRP's JSON with sorted keys, and routes byte by byte", () => {
    const row = desiredLrpRow(
      desiredLrp('p', {
        routes: ProtoRoutes.create({
          routes: new Map([
            ['tcp', Buffer.from('{"z":1e400,"a":{"b":2,"b":3}}')],
            ['cf-router', Buffer.from('[{"port":8080}]')],
          ]),
        }),
        metricTags: new Map([
          ['source_id', MetricTagValue.create({ static: 'x' })],
          ['instance_id', MetricTagValue.create({ dynamic: 1 })],
        ]),
        placementTags: ['b', 'a'],
      }),
      1n,
      keys,
    );
    expect(text(row.routes)).to.equal('{"cf-router":[{"port":8080}],"tcp":{"z":1e400,"a":{"b":2,"b":3}}}');
    expect(text(row.metric_tags)).to.equal('{"instance_id":{"dynamic":"INDEX"},"source_id":{"static":"x"}}');
    expect(row.placement_tags).to.equal('["b","a"]');
    const { routes, placementTags } = desiredLrpOf(row, keys).desired;
    expect(routes!.routes.get('tcp')!.toString()).to.equal('{"z":1e400,"a":{"b":2,"b":3}}');
    expect(placementTags).to.eql(['b', 'a']);
  });

  it('hold in the run info the ports as sent, the key and the time of creation, and no metric tags', () => {
    const full = filledMessage(DesiredLRP, { processGuid: 'p', domain: 'd', logGuid: 'l', ports: [8080, 8080, 22] });
    const row = desiredLrpRow({ ...full, routes: undefined }, 1_700_000_000_123_456_789n, keys);
    const bytes = keys.open(row.run_info);
    expect(bytes.subarray(0, 2).toString('hex')).to.equal('0200');
    const runInfo = decode(DesiredLRPRunInfo, bytes.subarray(2));
    expect(runInfo).to.deep.include({
      desiredLrpKey: { processGuid: 'p', domain: 'd', logGuid: 'l' },
      createdAt: 1_700_000_000_123_456_789n,
      ports: [8080, 8080, 22],
      metricTags: new Map(),
    });
    const { desired, createdAt } = desiredLrpOf(row, keys);
    expect(createdAt).to.equal(1_700_000_000_123_456_789n);
    expect(desired).to.eql({ ...full, routes: undefined, ports: [8080, 22] });
  });

  it('of before there was a column have the metric tags of the run info', () => {
    const row = desiredLrpRow(desiredLrp('p'), 1n, keys);
    expect(desiredLrpOf({ ...row, metric_tags: null }, keys).desired.metricTags).to.eql(new Map());
    const old = { ...actualLrpRow(actualLrp('p'), keys), internal_routes: null, metric_tags: null, routable: null };
    expect(actualLrpOf(old, keys)).to.eql(actualLrp('p'));
  });

  it('hold the result of a task only when it is over', () => {
    const running = filledMessage(Task, { state: TaskState.Running, result: '' });
    expect(taskRow(running, keys).result).to.equal(null);
    expect(taskRow({ ...running, state: TaskState.Completed }, keys).result).to.equal('');
  });

  it('of other forms cannot be read', () => {
    const row = desiredLrpRow(desiredLrp('p'), 1n, keys);
    for (const spoiled of [
      { routes: keys.seal(Buffer.from('[1]')) },
      { routes: keys.seal(Buffer.from('{"a":')) },
      { metric_tags: keys.seal(Buffer.from('{"a":"b"}')) },
      { run_info: keys.seal(Buffer.from('{}')) },
      { placement_tags: '{}' },
    ]) {
      expect(() => desiredLrpOf({ ...row, ...spoiled }, keys), JSON.stringify(Object.keys(spoiled))).to.throw(
        Undecodable,
      );
    }
    const lrp = actualLrpRow(actualLrp('p'), keys);
    for (const internal_routes of ['{}', '["a"]', '[{"hostname":1}]']) {
      const spoiled = { ...lrp, internal_routes: keys.seal(Buffer.from(internal_routes)) };
      expect(() => actualLrpOf(spoiled, keys), internal_routes).to.throw(Undecodable);
    }
  });
});

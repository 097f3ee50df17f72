import { expect } from 'chai';
import {
  type DesiredOutcome,
  desire,
  instanceUpdateFor,
  remove,
  update,
} from '../../../lib/bbs/decisions/desired-lrps/lifecycle.js';
import { fullForm, routingInfo, schedulingInfo } from '../../../lib/bbs/decisions/desired-lrps/read-forms.js';
import { domainExpiry, expiredDomains, freshDomains, neverExpires } from '../../../lib/bbs/decisions/domains.js';
import { invalidRequest, resourceExists, resourceNotFound } from '../../../lib/bbs/errors.js';
import {
  DesiredLRP,
  DesiredLRPUpdate,
  MetricTagValue,
  MetricTagValueDynamicValue,
  ProtoRoutes,
  VolumeMount,
} from '../../../lib/bbs/messages/models.js';
import { claimed, crashed, i, moment, running, second, unclaimed } from './instances.js';

function routes(values: Record<string, string>): ProtoRoutes {
  return ProtoRoutes.create({
    routes: new Map(Object.entries(values).map(([key, value]) => [key, Buffer.from(value)])),
  });
}

const tags = new Map([['source_id', MetricTagValue.create({ static: 'g' })]]);
const before = DesiredLRP.create({
  processGuid: 'p',
  domain: 'd',
  instances: 2,
  routes: routes({ 'internal-router': '[{"hostname":"a"}]' }),
  metricTags: tags,
  modificationTag: { epoch: 'e', index: 0 },
});

function updated(change: Partial<DesiredLRPUpdate>): DesiredOutcome {
  return update(before, DesiredLRPUpdate.create(change));
}

describe('a desire', () => {
  it('stores the LRP with a first tag, compact routes and each port once', () => {
    const wanted = { ...before, ports: [8080, 2222, 8080], routes: routes({ r: '[ 1.0 ]' }) };
    const { after, indicesToCreate } = desire(undefined, wanted, moment);
    expect(after?.modificationTag).to.deep.equal({ epoch: 'new-epoch', index: 0 });
    expect(after?.ports).to.deep.equal([8080, 2222]);
    expect(after?.routes).to.deep.equal(routes({ r: '[1.0]' }));
    expect(indicesToCreate).to.deep.equal([0, 1]);
  });

  it('is refused where there is one already', () => {
    expect(desire(before, before, moment)).to.deep.include({
      error: resourceExists,
      after: before,
      indicesToCreate: [],
    });
  });

  it('stores text where routes hold bytes that are none, as the database does', () => {
    const spoiled = ProtoRoutes.create({ routes: new Map([['r', Buffer.from([0x22, 0xf4, 0x22])]]) });
    const { after } = desire(undefined, { ...before, routes: spoiled }, moment);
    expect(after!.routes!.routes.get('r')!.toString()).to.equal('"\ufffd"');
  });

  it('stores no dynamic value that has no name', () => {
    const metricTags = new Map([['t', MetricTagValue.create({ static: 'a', dynamic: 99 as never })]]);
    const { after } = desire(undefined, { ...before, metricTags }, moment);
    expect(after!.metricTags.get('t')).to.deep.equal({ static: 'a', dynamic: 0 });
  });

  it('is refused with routes that are no JSON', () => {
    expect(desire(undefined, { ...before, routes: routes({ r: '{' }) }, moment).error).to.deep.equal(invalidRequest);
  });
});

describe('an update', () => {
  it('counts the tag on even when it is empty', () => {
    expect(updated({})).to.deep.equal({
      after: { ...before, modificationTag: { epoch: 'e', index: 1 } },
      indicesToCreate: [],
      stopFrom: undefined,
      instanceUpdate: { hasNewRoutes: false, hasNewTags: false },
    });
  });

  it('creates the instances that are added', () => {
    expect(updated({ instances: 4 })).to.deep.include({ indicesToCreate: [2, 3], stopFrom: undefined });
  });

  it('stops those that are taken away, all of them at 0', () => {
    expect(updated({ instances: 1 })).to.deep.include({ indicesToCreate: [], stopFrom: 1 });
    expect(updated({ instances: 0 }).stopFrom).to.equal(0);
  });

  it('replaces all routes, also by none', () => {
    expect(updated({ routes: routes({}) }).after?.routes?.routes.size).to.equal(0);
    expect(updated({ routes: routes({ r: '1' }) }).after?.routes).to.deep.equal(routes({ r: '1' }));
  });

  it('tells reps of internal routes only when these changed', () => {
    const hasNewRoutes = (values: Record<string, string>) =>
      updated({ routes: routes(values) }).instanceUpdate.hasNewRoutes;
    expect(hasNewRoutes({ 'internal-router': '[ {"hostname":"a"} ]', r: '1' })).to.equal(false);
    expect(hasNewRoutes({ 'internal-router': '[{"hostname":"b"}]' })).to.equal(true);
    expect(hasNewRoutes({ r: '1' })).to.equal(true);
    const without = { ...before, routes: routes({ r: '1' }) };
    const other = DesiredLRPUpdate.create({ routes: routes({ r: '2' }) });
    expect(update(without, other).instanceUpdate.hasNewRoutes).to.equal(false);
  });

  it('fills in what is known of each instance only', () => {
    const metricTags = new Map([
      ['index', MetricTagValue.create({ dynamic: MetricTagValueDynamicValue.INDEX })],
      ['guid', MetricTagValue.create({ dynamic: MetricTagValueDynamicValue.INSTANCE_GUID })],
      ['text', MetricTagValue.create({ static: 't' })],
    ]);
    const { after, instanceUpdate } = updated({ metricTags });
    const instance = running(i);
    expect(instanceUpdateFor(instance, after!, instanceUpdate)).to.deep.equal({
      instance,
      metricTags: new Map([
        ['index', '0'],
        ['guid', 'i'],
        ['text', 't'],
      ]),
    });
  });

  it('is told to reps of claimed and running instances only', () => {
    const { after, instanceUpdate } = updated({ routes: routes({}) });
    expect(instanceUpdateFor(claimed(i), after!, instanceUpdate)?.internalRoutes).to.deep.equal([]);
    for (const row of [unclaimed(), crashed(3)])
      expect(instanceUpdateFor(row, after!, instanceUpdate)).to.equal(undefined);
  });

  it('sets credentials and the annotation, also to nothing', () => {
    const { after } = updated({ annotation: '', imageUsername: 'u', imagePassword: 'p' });
    expect(after).to.deep.include({ annotation: '', imageUsername: 'u', imagePassword: 'p' });
  });

  it('is refused where there is nothing to update', () => {
    expect(update(undefined, DesiredLRPUpdate.create()).error).to.deep.equal(resourceNotFound);
  });
});

describe('a removal of a desired LRP', () => {
  it('stops all instances', () => {
    expect(remove(before)).to.deep.include({ after: undefined, stopFrom: 0 });
  });

  it('is refused where there is nothing to remove', () => {
    expect(remove(undefined).error).to.deep.equal(resourceNotFound);
  });
});

describe('reading a desired LRP', () => {
  it('fills the metrics guid and the tag source_id from each other', () => {
    expect(fullForm(before).metricsGuid).to.equal('g');
    const other = fullForm({ ...before, metricsGuid: 'm', metricTags: new Map() });
    expect(other.metricTags.get('source_id')?.static).to.equal('m');
  });

  it('always shows routes', () => {
    expect(fullForm({ ...before, routes: undefined }).routes).to.deep.equal(ProtoRoutes.create());
  });

  it('for its placement names a driver as often as it is used', () => {
    const volumeMounts = [VolumeMount.create({ driver: 'nfs' }), VolumeMount.create({ driver: 'nfs' })];
    expect(schedulingInfo({ ...before, volumeMounts }).volumePlacement).to.deep.equal({ driverNames: ['nfs', 'nfs'] });
  });

  it('for routers shows little more than routes', () => {
    const info = routingInfo({ ...before, rootFs: 'x:y', annotation: 'a' });
    expect(info).to.deep.include({ processGuid: 'p', domain: 'd', instances: 2, rootFs: '', annotation: '' });
    expect(info.routes).to.equal(before.routes);
  });
});

describe('domains', () => {
  it('that are upserted with 0 never expire', () => {
    expect(domainExpiry(0, second)).to.equal(neverExpires);
    expect(domainExpiry(120, second)).to.equal(121n * second);
  });

  it('are fresh until the second that is nearest to now', () => {
    const domains = new Map([['a', 10n * second]]);
    expect([...freshDomains(domains, (94n * second) / 10n)]).to.deep.equal(['a']);
    expect(expiredDomains(domains, (95n * second) / 10n)).to.deep.equal(['a']);
  });
});

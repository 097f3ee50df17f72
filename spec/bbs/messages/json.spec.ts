import { expect } from 'chai';
import { fromJson } from '../../../lib/bbs/messages/json/parse.js';
import { toJson } from '../../../lib/bbs/messages/json/print.js';
import { compactJson, InvalidJson } from '../../../lib/bbs/messages/json/text.js';
import {
  Action,
  ActualLRP,
  ActualLRPInfo,
  ActualLRPNetInfo,
  ActualLRPNetInfoPreferredAddress,
  ActualLRPsRequest,
  CellPresence,
  DesiredLRP,
  DesiredLRPSchedulingInfo,
  DesiredLRPUpdate,
  DesiredLRPUpdateStrategy,
  MetricTagValue,
  PortMapping,
  ProtoRoutes,
  Task,
  TaskCallbackResponse,
  TaskState,
} from '../../../lib/bbs/messages/models.js';

/** The texts are those of docs/protocol/bbs-messages.md and bbs.md §9.1, §10. */
const actualLrpText =
  '{"process_guid":"p","index":0,"domain":"d","instance_guid":"i","cell_id":"c","address":"10.0.0.5","ports":[{"container_port":8080,"host_port":61000,"container_tls_proxy_port":61001,"host_tls_proxy_port":61002}],"instance_address":"10.255.1.2","preferred_address":"HOST","crash_count":0,"state":"RUNNING","since":1700000000000000000,"modification_tag":{"epoch":"e","index":3},"presence":"ORDINARY","actual_lrp_internal_routes":[{"hostname":"a.apps.internal"}],"metric_tags":{"source_id":"p"},"OptionalRoutable":{"routable":true},"availability_zone":"z1"}';
const actualLrp = ActualLRP.create({
  actualLrpKey: { processGuid: 'p', index: 0, domain: 'd' },
  actualLrpInstanceKey: { instanceGuid: 'i', cellId: 'c' },
  actualLrpNetInfo: ActualLRPNetInfo.create({
    address: '10.0.0.5',
    ports: [
      PortMapping.create({
        containerPort: 8080,
        hostPort: 61000,
        containerTlsProxyPort: 61001,
        hostTlsProxyPort: 61002,
      }),
    ],
    instanceAddress: '10.255.1.2',
    preferredAddress: ActualLRPNetInfoPreferredAddress.HOST,
  }),
  state: 'RUNNING',
  since: 1_700_000_000_000_000_000n,
  modificationTag: { epoch: 'e', index: 3 },
  actualLrpInternalRoutes: [{ hostname: 'a.apps.internal' }],
  metricTags: new Map([['source_id', 'p']]),
  routable: true,
  availabilityZone: 'z1',
});

const actionText =
  '{"serial":{"actions":[{"download":{"from":"http://fs/v1/static/x.tgz","to":"/tmp","cache_key":"x","user":"vcap"}},{"run":{"path":"sh","args":["-c","exit 0"],"dir":"/home/vcap","env":[{"name":"A","value":"b"}],"resource_limits":{"nofile":16384},"user":"vcap","suppress_log_output":false,"volume_mounted_files":null}}]}}';

describe("messages in Go's JSON", () => {
  it('print an actual LRP with its keys and net info inlined', () => {
    expect(toJson(ActualLRP, actualLrp)).to.equal(actualLrpText);
  });

  it('read it back to the nanosecond', () => {
    expect(fromJson(ActualLRP, actualLrpText)).to.deep.equal(actualLrp);
  });

  it('keep an action as it was printed', () => {
    expect(toJson(Action, fromJson(Action, actionText))).to.equal(actionText);
  });

  it('read the value of a cell presence and print it again', () => {
    const text =
      '{"cell_id":"cell_z1-0","rep_address":"http://10.0.0.9:1800","zone":"z1","capacity":{"memory_mb":16384,"disk_mb":65536,"containers":250},"rootfs_provider_list":[{"name":"preloaded","properties":["cflinuxfs4"]},{"name":"docker"}],"rep_url":"https://cell-z1-0.cell.service.cf.internal:1801","annotations":{}}';
    const presence = fromJson(CellPresence, text);
    expect(presence.rootfsProviders[0]).to.deep.equal({ name: 'preloaded', properties: ['cflinuxfs4'] });
    expect(toJson(CellPresence, presence)).to.equal(text);
  });

  it('print the body of a task callback', () => {
    const response = TaskCallbackResponse.create({
      taskGuid: 'g',
      failed: true,
      failureReason: 'task was <cancelled>',
      createdAt: 1_700_000_000_000_000_000n,
    });
    expect(toJson(TaskCallbackResponse, response)).to.equal(
      '{"task_guid":"g","failed":true,"failure_reason":"task was \\u003ccancelled\\u003e","result":"","created_at":1700000000000000000}',
    );
  });

  it('print null for what is empty and not left out', () => {
    const text = toJson(DesiredLRP, DesiredLRP.create({ routes: ProtoRoutes.create() }));
    expect(text).to.contain('"env":null').and.contain('"routes":{}').and.contain('"volume_mounted_files":null');
    expect(toJson(DesiredLRPSchedulingInfo, DesiredLRPSchedulingInfo.create())).to.contain('"routes":null');
  });

  it('print the modification tag of a scheduling info at the top level', () => {
    const info = DesiredLRPSchedulingInfo.create({ modificationTag: { epoch: 'e', index: 2 } });
    expect(toJson(DesiredLRPSchedulingInfo, info))
      .to.contain('"epoch":"e","index":2')
      .and.not.contain('modification_tag');
  });

  it('print routes as the JSON that they are', () => {
    const routes = ProtoRoutes.create({ routes: new Map([['cf-router', Buffer.from('[{"port":8080}]')]]) });
    expect(toJson(DesiredLRP, DesiredLRP.create({ routes }))).to.contain('"routes":{"cf-router":[{"port":8080}]}');
  });

  it('print enumerations by name, but the update strategy as a number', () => {
    expect(toJson(Task, Task.create({ state: TaskState.Pending }))).to.contain('"state":"Pending"');
    const desired = DesiredLRP.create({ updateStrategy: DesiredLRPUpdateStrategy.RECREATE });
    expect(toJson(DesiredLRP, desired)).to.contain('"update_strategy":1');
  });

  it('print an optional scalar below the name of its oneof, null when it is absent', () => {
    expect(toJson(ActualLRPInfo, ActualLRPInfo.create({ routable: true }))).to.contain(
      '"OptionalRoutable":{"Routable":true}',
    );
    expect(toJson(ActualLRPInfo, ActualLRPInfo.create())).to.contain('"OptionalRoutable":null');
  });

  it('print optional scalars of an update and of a filter at the top level', () => {
    expect(toJson(DesiredLRPUpdate, DesiredLRPUpdate.create({ instances: 0 }))).to.equal('{"instances":0}');
    expect(toJson(ActualLRPsRequest, ActualLRPsRequest.create({ index: 0 }))).to.contain('"index":0');
  });

  it('read an update without touching the text of its routes', () => {
    const update = fromJson(DesiredLRPUpdate, '{"instances":4,"routes":{"r":[ 1.0, 12345678901234567890 ]}}');
    expect(update.instances).to.equal(4);
    expect(update.routes?.routes.get('r')?.toString()).to.equal('[1.0,12345678901234567890]');
    expect(update.annotation).to.equal(undefined);
  });

  it('read keys in any case, and take null for absent', () => {
    expect(fromJson(Task, '{"TASK_GUID":"g","domain":null,"rootfs":"x:y"}')).to.deep.include({
      taskGuid: 'g',
      domain: '',
    });
  });

  it('read an unknown dynamic value as none', () => {
    expect(fromJson(MetricTagValue, '{"dynamic":"nope"}')).to.deep.equal({ static: '', dynamic: 0 });
  });

  for (const [what, text, message] of [
    ['a text for a number', '{"instances":"4"}', 'DesiredLRP.instances: not a number of type int32'],
    [
      'an unknown name',
      '{"image_layers":[{"layer_type":"X"}]}',
      'DesiredLRP.image_layers[0].layer_type: "X" is none of',
    ],
    [
      'a negative number where there is none',
      '{"cpu_weight":-1}',
      'DesiredLRP.cpu_weight: not a number of type uint32',
    ],
    ['a fraction', '{"start_timeout_ms":1.5}', 'DesiredLRP.start_timeout_ms: not a number of type int64'],
    ['a number for a list', '{"ports":1}', 'DesiredLRP.ports: not a list'],
    ['a list for the message', '[]', 'DesiredLRP: not an object'],
    ['no JSON', '{', 'JSON'],
  ] as const) {
    it(`are refused with ${what}, and the place is named`, () => {
      expect(() => fromJson(DesiredLRP, text)).to.throw(InvalidJson, message);
    });
  }
});

describe('compact JSON', () => {
  const compact = (text: string) => compactJson(Buffer.from(text)).toString();

  it('loses white space, but no spelling of a number', () => {
    expect(compact('[ {"a": 1.0, "big":12345678901234567890 , "h":"<&>"} ]')).to.equal(
      '[{"a":1.0,"big":12345678901234567890,"h":"\\u003c\\u0026\\u003e"}]',
    );
  });

  it('keeps the order of keys and keys that come twice', () => {
    expect(compact('{"b": 1, "a": 2, "b": 3}')).to.equal('{"b":1,"a":2,"b":3}');
  });

  it('escapes the separators of lines and paragraphs', () => {
    expect(compact('"\u2028 \u2029"')).to.equal('"\\u2028 \\u2029"');
  });

  it('leaves white space and quotes within strings alone', () => {
    expect(compact('{"a b": "c \\" d\\\\" , "é": 1}')).to.equal('{"a b":"c \\" d\\\\","é":1}');
  });

  it('refuses what is no JSON', () => {
    for (const text of ['', '{', '[1,]', '{"a"}', '01', "'a'", '[] []'])
      expect(() => compact(text)).to.throw(InvalidJson);
  });
});

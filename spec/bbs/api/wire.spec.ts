import { expect } from 'chai';
import { type RunningBbs, startBbs } from '../../support/bbs.js';
import { field, hex, inHex, nested } from '../../support/board/bytes.js';
import { readByTables, writeByTables } from '../../support/board/message-tables.js';
import { exchange, type RawAnswer, type RawQuestion } from '../../support/board/raw-exchange.js';

/**
 * Every route and revision of docs/protocol/bbs.md §2, spoken in bytes: requests are put together from field numbers,
 * answers are compared as bytes or read by the document's tables. No path and no message of the board's own code is used.
 */

const protobuf = 'application/x-protobuf';
const invalidRequest = nested(1, field(1, 4), field(2, 'the request received is invalid'));
const notFound = nested(1, field(1, 13), field(2, 'the requested resource could not be found'));

/** Of evacuations, which say in field 2 that the container is kept. */
const keep = hex('10 01');

/** Paths of messages that are looked at, with what follows the error of one that is none. */
const calls: Record<string, Buffer> = Object.fromEntries(
  [
    ...['domains/upsert', 'actual_lrps/list', 'actual_lrps/list_by_process_guids', 'actual_lrp_groups/list'],
    ...['actual_lrp_groups/list_by_process_guid', 'actual_lrp_groups/get_by_process_guid_and_index'],
    ...['claim', 'start.r1', 'start', 'crash', 'fail', 'remove', 'retire'].map((name) => `actual_lrps/${name}`),
    ...['remove_evacuating', 'evacuate_claimed', 'evacuate_crashed'].map((name) => `actual_lrps/${name}`),
    ...['evacuate_stopped', 'evacuate_running.r1', 'evacuate_running'].map((name) => `actual_lrps/${name}`),
    ...['desired_lrps/list.r3', 'desired_lrps/list.r2', 'desired_lrps/get_by_process_guid.r3'],
    ...['desired_lrps/get_by_process_guid.r2', 'desired_lrp_scheduling_infos/list'],
    ...['desired_lrp_scheduling_infos/get_by_process_guid', 'desired_lrp_routing_infos/list'],
    ...['desired_lrp/desire.r2', 'desired_lrp/update', 'desired_lrp/remove', 'tasks/list.r3', 'tasks/list.r2'],
    ...['tasks/get_by_task_guid.r3', 'tasks/get_by_task_guid.r2', 'tasks/desire.r2', 'tasks/start', 'tasks/cancel'],
    ...['tasks/fail', 'tasks/reject', 'tasks/complete', 'tasks/resolving', 'tasks/delete'],
  ].map((path) => [path, /evacuate_(claimed|running)/.test(path) ? keep : Buffer.alloc(0)]),
);

/** Removed by upstream, served when the configuration says so. */
const removedPosts = [
  ...['desired_lrps/list', 'desired_lrps/get_by_process_guid', 'desired_lrps/list.r1'],
  ...['desired_lrps/get_by_process_guid.r1', 'desired_lrp/desire', 'desired_lrp/desire.r1', 'tasks/desire'],
  ...['tasks/desire.r1', 'tasks/list', 'tasks/list.r1', 'tasks/get_by_task_guid.r1'],
];
const removedGets = ['tasks/get_by_task_guid', 'cells/list.r1'];

const runAction = nested(3, field(1, 'ls'), field(6, 'vcap'));
/** A map's entry, of a metric tag. */
const tag = (key: string, value: string) => nested(35, field(1, key), nested(2, field(1, value)));

function desiredLrp(guid: string, ...more: Buffer[]): Buffer {
  return Buffer.concat([
    ...[field(1, guid), field(2, 'wire'), field(3, 'preloaded:cflinuxfs4'), field(4, 1)],
    ...[nested(7, runAction), tag('source_id', guid), ...more],
  ]);
}

function taskDefinition(...more: Buffer[]): Buffer {
  return Buffer.concat([field(1, 'preloaded:cflinuxfs4'), nested(3, runAction), ...more]);
}

const instanceKey = (instanceGuid: string, cellId: string) => [field(1, instanceGuid), field(2, cellId)];
const lrpKey = (guid: string, index = 0) => [field(1, guid), ...(index ? [field(2, index)] : []), field(3, 'wire')];
const netInfo = [field(1, '10.0.0.5'), nested(2, field(1, 8080), field(2, 61000))];

describe('the API in bytes', () => {
  let board: RunningBbs;

  before(async () => {
    board = await startBbs({ config: { serve_removed_routes: true } });
    await board.addCell('c');
  });

  after(() => board.stop());

  const send = (path: string, body: Buffer = Buffer.alloc(0), question: RawQuestion = {}): Promise<RawAnswer> =>
    exchange(`${board.url}/v1/${path}`, { body, ...question });

  /** Body of a message that is answered. */
  async function answer(path: string, body?: Buffer, question?: RawQuestion): Promise<Buffer> {
    const { status, headers, body: answered } = await send(path, body, question);
    expect([status, headers['content-type'], headers['content-length']]).to.deep.equal([
      200,
      protobuf,
      String(answered.length),
    ]);
    return answered;
  }

  async function succeed(path: string, body: Buffer, question?: RawQuestion): Promise<void> {
    expect(inHex(await answer(path, body, question))).to.equal('');
  }

  const refuse = async (path: string, body: Buffer, expected: Buffer) =>
    expect(inHex(await answer(path, body))).to.equal(inHex(expected));

  const desire = (guid: string, ...more: Buffer[]) =>
    succeed('desired_lrp/desire.r2', field(1, desiredLrp(guid, ...more)));

  async function rowsOf(guid: string): Promise<Record<string, unknown>[]> {
    const { actual_lrps = [] } = readByTables('ActualLRPsResponse', await answer('actual_lrps/list', field(3, guid)));
    return actual_lrps as Record<string, unknown>[];
  }

  describe('in general', () => {
    it('answers a ping, whatever comes with it', async () => {
      expect(inHex(await answer('ping'))).to.equal('08 01');
      expect(inHex(await answer('ping', hex('ff ff')))).to.equal('08 01');
    });

    it('does not mind what the content type of a request is, or whether there is one', async () => {
      expect(inHex(await answer('actual_lrps/list', field(3, 'nobody'), { headers: {} }))).to.equal('');
      await refuse('desired_lrp/remove', field(1, 'nobody'), notFound);
    });

    for (const path of ['nope', 'ping/', 'tasks/list.r4', 'desired_lrp/desire.r3']) {
      it(`knows no /v1/${path}`, async () => {
        const { status, headers, body } = await send(path);
        expect([status, body.toString()]).to.deep.equal([404, '404 page not found\n']);
        expect(headers['content-type']).to.equal('text/plain; charset=utf-8');
        expect(headers['x-content-type-options']).to.equal('nosniff');
      });
    }

    for (const [method, path, allowed] of [
      ['GET', 'ping', 'POST'],
      ['PUT', 'desired_lrp/update', 'POST'],
      ['OPTIONS', 'cells/list.r1', 'POST'],
      ['POST', 'events.r1', 'GET'],
      ['POST', 'events', 'GET'],
      ['GET', 'events/lrp_instances.r1', 'POST'],
    ] as const) {
      it(`takes no ${method} for ${path}`, async () => {
        const { status, headers, body } = await send(path, Buffer.alloc(0), { method });
        expect([status, body.toString()]).to.deep.equal([405, 'Method Not Allowed\n']);
        expect(String(headers.allow).split(', ')).to.include(allowed);
        expect(headers['content-type']).to.equal('text/plain; charset=utf-8');
        expect(headers['x-content-type-options']).to.equal('nosniff');
      });
    }

    it('answers a HEAD without a body', async () => {
      const { status, headers, body } = await send('ping', Buffer.alloc(0), { method: 'HEAD' });
      expect([status, headers.allow, body.length]).to.deep.equal([405, 'POST', 0]);
    });

    for (const [path, rest] of Object.entries(calls)) {
      it(`refuses what is no message: ${path}`, async () => {
        for (const body of ['ff ff', '0a ff 01 61', '08', '00 00']) {
          await refuse(path, hex(body), Buffer.concat([invalidRequest, rest]));
        }
      });
    }

    it('refuses what is no message on routes of old', async () => {
      for (const path of removedPosts) await refuse(path, hex('ff ff'), invalidRequest);
      const got = await answer('tasks/get_by_task_guid', hex('ff ff'), { method: 'GET' });
      expect(got.equals(invalidRequest)).to.equal(true);
    });

    it('refuses a subscription that is no message with a status', async () => {
      for (const [method, path] of [
        ['GET', 'events.r1'],
        ['GET', 'events'],
        ['POST', 'events/lrp_instances.r1'],
        ['POST', 'events/lrp_instances'],
      ] as const) {
        const { status, body } = await send(path, hex('ff ff'), { method });
        expect([path, status, body.length]).to.deep.equal([path, 500, 0]);
      }
    });

    it('passes over fields that it does not know, groups too', async () => {
      const unknown = hex('9a 06 01 61 a3 06 08 01 a4 06 ad 06 01 02 03 04 b1 06 01 02 03 04 05 06 07 08');
      await refuse('desired_lrp/remove', Buffer.concat([unknown, field(1, 'nobody'), unknown]), notFound);
    });

    it('takes a field of another wire type for one that it does not know', async () => {
      await refuse('desired_lrp/remove', hex('08 05'), nested(1, field(1, 4), field(2, 'Invalid field: process_guid')));
    });

    it('answers in the bytes of the document what is not there', async () => {
      expect(inHex(await answer('desired_lrp/remove', field(1, 'nobody')))).to.equal(
        `0a 2d 08 0d 12 29 ${inHex(Buffer.from('the requested resource could not be found'))}`,
      );
    });
  });

  describe('about domains and cells', () => {
    it('lists what was upserted', async () => {
      await succeed('domains/upsert', hex('0a 07 63 66 2d 61 70 70 73 10 78'));
      expect(inHex(await answer('domains/list'))).to.equal('12 07 63 66 2d 61 70 70 73');
      expect(inHex(await answer('domains/list', hex('ff ff')))).to.equal('12 07 63 66 2d 61 70 70 73');
    });

    it('lists cells, and did so for those who got them', async () => {
      const listed = await answer('cells/list.r1', hex('ff'));
      expect(readByTables('CellsResponse', listed)).to.deep.equal({
        cells: [
          {
            cell_id: 'c',
            rep_address: board.rep.url,
            zone: 'z1',
            capacity: { memory_mb: 1024, disk_mb: 2048, containers: 10 },
            rootfs_providers: [{ name: 'preloaded', properties: ['cflinuxfs4'] }],
            rep_url: board.rep.url,
          },
        ],
      });
      expect((await answer('cells/list.r1', undefined, { method: 'GET' })).equals(listed)).to.equal(true);
    });
  });

  describe('about desired LRPs', () => {
    before(() =>
      desire(
        'full',
        nested(5, field(1, 'LANG'), field(2, 'en')),
        ...[field(8, 7), field(27, 61_000), field(14, 8080), field(14, 2222), field(14, 8080), field(10, 256)],
        ...[field(11, 128), field(16, 'CELL'), field(17, 'log'), field(19, 'note'), field(23, 'vcap')],
        nested(15, nested(1, field(1, 'cf-router'), field(2, '[ {"a" : 1.0, "h":"<&>"} ]'))),
        nested(22, field(1, 'dep'), field(2, 'http://dep'), field(3, '/dep'), field(4, 'dep-key')),
        nested(9, nested(4, nested(1, runAction), field(4, 5000))),
        nested(
          34,
          field(1, 's'),
          field(2, 'http://s'),
          field(3, '/s'),
          field(4, 1),
          field(5, 1),
          field(6, 1),
          field(7, 'ab'),
        ),
        nested(
          34,
          field(1, 'e'),
          field(2, 'http://e'),
          field(3, '/e'),
          field(4, 2),
          field(5, 1),
          field(6, 1),
          field(7, 'cd'),
        ),
        nested(37, field(1, -1)),
        field(39, 1),
      ),
    );

    const run = { run_action: { path: 'ls', user: 'vcap' } };
    const common = {
      process_guid: 'full',
      domain: 'wire',
      root_fs: 'preloaded:cflinuxfs4',
      instances: 1,
      environment_variables: [{ name: 'LANG', value: 'en' }],
      action: run,
      start_timeout_ms: '61000',
      disk_mb: 256,
      memory_mb: 128,
      ports: [8080, 2222],
      routes: { routes: { 'cf-router': Buffer.from('[{"a":1.0,"h":"\\u003c\\u0026\\u003e"}]') } },
      log_source: 'CELL',
      log_guid: 'log',
      metrics_guid: 'full',
      annotation: 'note',
      legacy_download_user: 'vcap',
      metric_tags: { source_id: { static: 'full' } },
      log_rate_limit: { bytes_per_second: '-1' },
      update_strategy: 'RECREATE',
    };
    const shared = {
      ...{ name: 's', from: 'http://s', to: '/s', cache_key: 'sha256:ab' },
      ...{ checksum_algorithm: 'sha256', checksum_value: 'ab' },
    };
    const exclusive = {
      download_action: {
        ...{ artifact: 'e', from: 'http://e', to: '/e', cache_key: 'sha256:cd', user: 'vcap' },
        ...{ checksum_algorithm: 'sha256', checksum_value: 'cd' },
      },
    };
    const dependency = { name: 'dep', from: 'http://dep', to: '/dep', cache_key: 'dep-key' };
    const layerDownloads = { parallel_action: { actions: [exclusive] } };
    const monitor = { timeout_action: { action: run, timeout_ms: '5000' } };
    const layer = (name: string, layer_type: string, digest_value: string) => ({
      ...{ name, url: `http://${name}`, destination_path: `/${name}`, layer_type, media_type: 'TGZ' },
      ...{ digest_algorithm: 'SHA256', digest_value },
    });
    const second = { ...common, monitor, cached_dependencies: [shared, dependency], setup: layerDownloads };
    const oldMonitor = { timeout_action: { action: run, timeout_ms: '5000', deprecated_timeout_ns: '5000000000' } };
    const first = { ...second, monitor: oldMonitor, deprecated_start_timeout_s: 61 };
    const download = (artifact: string, cache_key: string) => ({
      download_action: { artifact, from: `http://${artifact}`, to: `/${artifact}`, cache_key, user: 'vcap' },
    });
    const dependencyDownloads = {
      parallel_action: { actions: [download('s', 'sha256:ab'), download('dep', 'dep-key')] },
    };
    const { cached_dependencies: _, ...withoutDependencies } = first;
    const revisions = {
      '.r3': {
        ...{ ...common, monitor, cached_dependencies: [dependency] },
        image_layers: [layer('s', 'SHARED', 'ab'), layer('e', 'EXCLUSIVE', 'cd')],
      },
      '.r2': second,
      '.r1': first,
      '': { ...withoutDependencies, setup: { serial_action: { actions: [dependencyDownloads, layerDownloads] } } },
    };

    for (const [revision, expected] of Object.entries(revisions)) {
      it(`reads them in the form of revision ${revision || '0'}`, async () => {
        const one = await answer(`desired_lrps/get_by_process_guid${revision}`, field(1, 'full'));
        const { desired_lrp } = readByTables('DesiredLRPResponse', one) as { desired_lrp: Record<string, unknown> };
        const { modification_tag, ...rest } = desired_lrp;
        expect(rest).to.deep.equal(expected);
        expect((modification_tag as { epoch: string }).epoch).to.match(/^[0-9a-f-]{36}$/);
        const list = await answer(`desired_lrps/list${revision}`, Buffer.concat([field(1, 'wire'), field(2, 'full')]));
        expect(list.equals(one)).to.equal(true);
        expect(inHex(await answer(`desired_lrps/list${revision}`, field(1, 'elsewhere')))).to.equal('');
        await refuse(`desired_lrps/get_by_process_guid${revision}`, field(1, 'nobody'), notFound);
      });
    }

    it('writes ports one by one', async () => {
      const one = await answer('desired_lrps/get_by_process_guid.r3', field(1, 'full'));
      expect(inHex(one)).to.contain('70 90 3f 70 ae 11');
    });

    it('reads scheduling infos, one and all', async () => {
      const one = await answer('desired_lrp_scheduling_infos/get_by_process_guid', field(1, 'full'));
      const read = readByTables('DesiredLRPSchedulingInfoByProcessGuidResponse', one);
      const { modification_tag, ...rest } = read.desired_lrp_scheduling_info as Record<string, unknown>;
      expect(rest).to.deep.equal({
        desired_lrp_key: { process_guid: 'full', domain: 'wire', log_guid: 'log' },
        annotation: 'note',
        instances: 1,
        desired_lrp_resource: { memory_mb: 128, disk_mb: 256, root_fs: 'preloaded:cflinuxfs4' },
        routes: common.routes,
        volume_placement: {},
      });
      expect(modification_tag).to.have.property('epoch');
      const list = await answer('desired_lrp_scheduling_infos/list', field(2, 'full'));
      expect(list.equals(one)).to.equal(true);
      await refuse('desired_lrp_scheduling_infos/get_by_process_guid', field(1, 'nobody'), notFound);
    });

    it('reads routing infos, whatever the domain', async () => {
      const asked = Buffer.concat([field(1, 'elsewhere'), field(2, 'full')]);
      const { desired_lrps } = readByTables(
        'DesiredLRPsResponse',
        await answer('desired_lrp_routing_infos/list', asked),
      );
      const [{ modification_tag, ...info }] = desired_lrps as [Record<string, unknown>];
      const { process_guid, domain, log_guid, instances, routes, metric_tags } = common;
      expect(info).to.deep.equal({ process_guid, domain, log_guid, instances, routes, metric_tags });
      expect(modification_tag).to.have.property('epoch');
    });

    it('has the same routes and bytes in every list of everything', async () => {
      for (const path of [
        'desired_lrps/list.r3',
        'desired_lrp_scheduling_infos/list',
        'desired_lrp_routing_infos/list',
      ]) {
        const all = await answer(path);
        const some = await answer(path, field(2, 'full'));
        expect(all.includes(some), path).to.equal(true);
      }
    });

    it('updates and removes them', async () => {
      await desire('gone');
      await succeed('desired_lrp/update', Buffer.concat([field(1, 'gone'), nested(2, field(1, 0), field(3, 'new'))]));
      const one = await answer('desired_lrps/get_by_process_guid.r3', field(1, 'gone'));
      const { desired_lrp } = readByTables('DesiredLRPResponse', one);
      expect(desired_lrp).to.include({ annotation: 'new' }).and.not.to.have.property('instances');
      expect(desired_lrp).to.have.nested.property('modification_tag.index', 1);
      expect(desired_lrp).to.have.deep.property('routes', {});
      expect(await rowsOf('gone')).to.deep.equal([]);
      await succeed('desired_lrp/remove', field(1, 'gone'));
      await refuse('desired_lrp/update', Buffer.concat([field(1, 'gone'), nested(2)]), notFound);
    });

    it('refuses an update that says nothing at all, and an action with nothing in it', async () => {
      const findings = (text: string) => nested(1, field(1, 4), field(2, text));
      await refuse('desired_lrp/update', field(1, 'full'), findings('Invalid field: update'));
      const hollow = nested(7, nested(8, nested(1)));
      await refuse(
        'desired_lrp/desire.r2',
        field(1, Buffer.concat([desiredLrp('hollow'), hollow])),
        findings('Invalid field: action, Invalid field: inner-action'),
      );
    });

    it('takes those of clients of before 2016', async () => {
      const timeout = nested(7, nested(4, nested(1, runAction), field(2, 9_000_000_000n)));
      const sent = Buffer.concat([field(1, 'old'), field(2, 'wire'), field(3, 'preloaded:x'), timeout]);
      await succeed(
        'desired_lrp/desire',
        field(
          1,
          Buffer.concat([sent, field(8, 30), tag('source_id', 'old'), nested(25, field(1, 'nfs'), field(6, 'r'))]),
        ),
      );
      const one = await answer('desired_lrps/get_by_process_guid.r3', field(1, 'old'));
      const { desired_lrp } = readByTables('DesiredLRPResponse', one);
      expect(desired_lrp).to.deep.include({ start_timeout_ms: '30000' });
      expect(desired_lrp).to.have.nested.property('action.timeout_action.timeout_ms', '9000');
    });

    /** Fields 2, 4 and 5 are volume id, configuration and mode. */
    const oldMount = (mode: number) => [
      ...[field(1, 'nfs'), field(2, 'volume-1'), field(3, '/data'), field(4, '{"a":1}')],
      ...(mode ? [field(5, mode)] : []),
    ];
    const newMounts = [
      {
        ...{ driver: 'nfs', container_dir: '/data', mode: 'r' },
        shared: { volume_id: 'volume-1', mount_config: '{"a":1}' },
      },
      {
        ...{ driver: 'nfs', container_dir: '/data', mode: 'rw' },
        shared: { volume_id: 'volume-1', mount_config: '{"a":1}' },
      },
    ];

    it('takes volume mounts of before 2017', async () => {
      const mounts = [0, 1].map((mode) => nested(25, ...oldMount(mode)));
      await succeed('desired_lrp/desire.r1', field(1, desiredLrp('old-mounts', ...mounts)));
      const one = await answer('desired_lrps/get_by_process_guid.r3', field(1, 'old-mounts'));
      expect(readByTables('DesiredLRPResponse', one)).to.have.deep.nested.property(
        'desired_lrp.volume_mounts',
        newMounts,
      );
    });

    it('takes volume mounts of before 2017 in tasks', async () => {
      const mounts = [0, 1].map((mode) => nested(18, ...oldMount(mode)));
      const definition = field(1, taskDefinition(...mounts));
      await succeed('tasks/desire.r1', Buffer.concat([definition, field(2, 'old-mounts'), field(3, 'wire')]));
      const one = await answer('tasks/get_by_task_guid.r3', field(1, 'old-mounts'));
      expect(readByTables('TaskResponse', one)).to.have.deep.nested.property(
        'task.task_definition.volume_mounts',
        newMounts,
      );
    });
  });

  describe('about actual LRPs', () => {
    const started = (guid: string) => [
      ...[nested(1, ...lrpKey(guid)), nested(2, ...instanceKey('i', 'c')), nested(3, ...netInfo)],
      nested(4, field(1, 'a.apps.internal')),
      nested(5, field(1, 'source_id'), field(2, guid)),
      ...[field(6, true), field(7, 'z1')],
    ];
    const running = {
      actual_lrp_key: { domain: 'wire' },
      actual_lrp_instance_key: { instance_guid: 'i', cell_id: 'c' },
      actual_lrp_net_info: { address: '10.0.0.5', ports: [{ container_port: 8080, host_port: 61000 }] },
      state: 'RUNNING',
      routable: true,
      availability_zone: 'z1',
    };

    it('makes a fresh row in the bytes of the document', async () => {
      await desire('fresh');
      const listed = await answer('actual_lrps/list', field(3, 'fresh'));
      // Of the parts that are empty an encoder may leave out each (docs/protocol/bbs-messages.md §0).
      expect(inHex(listed)).to.match(
        /^12 .. 0a 0d 0a 05 66 72 65 73 68 1a 04 77 69 72 65 (12 00 )?(1a 00 )?32 09 55 4e 43 4c 41 49 4d 45 44 40( ..){9} 4a 26 0a 24( ..){36} 68 00$/,
      );
    });

    it('tells index 0 from no index', async () => {
      await desire('p', field(4, 2));
      const count = async (body: string) =>
        (readByTables('ActualLRPsResponse', await answer('actual_lrps/list', hex(body))).actual_lrps as object[])
          .length;
      expect(await count('1a 01 70 20 00')).to.equal(1);
      expect(await count('1a 01 70')).to.equal(2);
    });

    it('claims and starts in the bytes of the document, and lists in every way', async () => {
      await desire('b');
      await succeed('actual_lrps/claim', hex('0a 01 62 1a 06 0a 01 69 12 01 63'));
      expect((await rowsOf('b'))[0]).to.deep.include({
        state: 'CLAIMED',
        actual_lrp_instance_key: { instance_guid: 'i', cell_id: 'c' },
      });
      await succeed('actual_lrps/start.r1', Buffer.concat(started('b')));
      const [row] = await rowsOf('b');
      expect(row).to.deep.include({
        ...running,
        actual_lrp_key: { process_guid: 'b', domain: 'wire' },
        actual_lrp_internal_routes: [{ hostname: 'a.apps.internal' }],
        metric_tags: { source_id: 'b' },
      });
      const listed = await answer('actual_lrps/list', field(3, 'b'));
      expect((await answer('actual_lrps/list', field(2, 'c'))).includes(listed)).to.equal(true);
      expect((await answer('actual_lrps/list_by_process_guids', field(1, 'b'))).equals(listed)).to.equal(true);
      const group = nested(2, field(1, listed.subarray(2)));
      const wholeGroup = await answer('actual_lrp_groups/get_by_process_guid_and_index', field(1, 'b'));
      expect(readByTables('ActualLRPGroupResponse', wholeGroup)).to.deep.equal({ actual_lrp_group: { instance: row } });
      expect(wholeGroup.length).to.be.at.least(group.length - 4);
      expect((await answer('actual_lrp_groups/list_by_process_guid', field(1, 'b'))).equals(wholeGroup)).to.equal(true);
      const onCell = await answer('actual_lrp_groups/list', Buffer.concat([field(1, 'wire'), field(2, 'c')]));
      expect(onCell.includes(wholeGroup)).to.equal(true);
      await refuse(
        'actual_lrp_groups/get_by_process_guid_and_index',
        Buffer.concat([field(1, 'b'), field(2, 7)]),
        notFound,
      );
      expect(inHex(await answer('actual_lrp_groups/list_by_process_guid', field(1, 'nobody')))).to.equal('');
    });

    it('takes a start with the bytes of the document, for which there was no row', async () => {
      await succeed(
        'actual_lrps/start.r1',
        hex(
          '0a 06 0a 01 71 1a 01 64 12 06 0a 01 69 12 01 63 1a 13 0a 08 31 30 2e 30 2e 30 2e 35 12 07 08 90 3f 10 c8 dc 03 30 01',
        ),
      );
      expect((await rowsOf('q'))[0]).to.deep.include({ state: 'RUNNING', routable: true });
    });

    it('hears neither internal routes nor tags on the first revision of start', async () => {
      await desire('r0');
      await succeed('actual_lrps/start', Buffer.concat(started('r0')));
      const [row] = await rowsOf('r0');
      expect(row).to.deep.include({ ...running, actual_lrp_key: { process_guid: 'r0', domain: 'wire' } });
      expect(row).not.to.have.any.keys('actual_lrp_internal_routes', 'metric_tags');
    });

    it('refuses a negative index', async () => {
      const key = nested(1, field(1, 'p'), hex('10 ff ff ff ff ff ff ff ff ff 01'), field(3, 'wire'));
      await refuse('actual_lrps/retire', key, nested(1, field(1, 4), field(2, 'Invalid field: index')));
    });

    it('crashes, fails, removes and retires them', async () => {
      await desire('ends');
      const key = nested(1, ...lrpKey('ends'));
      await succeed('actual_lrps/fail', Buffer.concat([key, field(2, 'no room')]));
      expect((await rowsOf('ends'))[0]).to.include({ placement_error: 'no room', state: 'UNCLAIMED' });
      await succeed('actual_lrps/start.r1', Buffer.concat(started('ends')));
      const instance = nested(2, ...instanceKey('i', 'c'));
      await succeed('actual_lrps/crash', Buffer.concat([key, instance, field(3, 'boom')]));
      expect((await rowsOf('ends'))[0]).to.include({ crash_count: 1, crash_reason: 'boom', state: 'UNCLAIMED' });
      await succeed('actual_lrps/retire', key);
      expect(await rowsOf('ends')).to.deep.equal([]);
      await refuse('actual_lrps/retire', key, notFound);
      await succeed('actual_lrps/start.r1', Buffer.concat(started('ends')));
      const removal = Buffer.concat([field(1, 'ends'), nested(3, ...instanceKey('i', 'c'))]);
      await succeed('actual_lrps/remove', removal);
      await refuse('actual_lrps/remove', removal, notFound);
    });

    for (const [revision, routes] of [
      ['.r1', [{ hostname: 'b.apps.internal' }]],
      ['', undefined],
    ] as const) {
      it(`evacuates them, with evacuate_running${revision}`, async () => {
        const guid = `leaves${revision.replace('.', '-')}`;
        const instance = [nested(1, ...lrpKey(guid)), nested(2, ...instanceKey('i', 'c'))];
        await desire(guid);
        await succeed('actual_lrps/start', Buffer.concat(started(guid)));
        const request = Buffer.concat([
          ...[...instance, nested(3, ...netInfo), nested(5, field(1, 'b.apps.internal')), field(7, true)],
          field(8, 'z2'),
        ]);
        const path = `actual_lrps/evacuate_running${revision}`;
        expect(inHex(await answer(path, request))).to.equal('10 01');
        expect(inHex(await answer(path, request))).to.equal('10 01');
        const evacuating = (await rowsOf(guid)).find(({ presence }) => presence === 'EVACUATING');
        expect(evacuating).to.include({ state: 'RUNNING', availability_zone: 'z2' });
        expect(evacuating?.actual_lrp_internal_routes).to.deep.equal(routes);
        await succeed('actual_lrps/remove_evacuating', Buffer.concat(instance));
        await refuse('actual_lrps/remove_evacuating', Buffer.concat(instance), notFound);
      });
    }

    it('leaves a cell in the other ways', async () => {
      const instance = [nested(1, ...lrpKey('left')), nested(2, ...instanceKey('i', 'c'))];
      await desire('left');
      for (const [path, more, state] of [
        ['evacuate_claimed', [], 'UNCLAIMED'],
        ['evacuate_crashed', [field(3, 'boom')], 'UNCLAIMED'],
        ['evacuate_stopped', [], undefined],
      ] as const) {
        await succeed('actual_lrps/start.r1', Buffer.concat(started('left')));
        expect(inHex(await answer(`actual_lrps/${path}`, Buffer.concat([...instance, ...more])))).to.equal('');
        expect((await rowsOf('left'))[0]?.state).to.equal(state);
        await refuse(`actual_lrps/${path}`, Buffer.concat([...instance, ...more]), notFound);
      }
    });

    it('keeps a claimed container whose evacuation is not valid, and drops others', async () => {
      const findings = nested(1, field(1, 4), field(2, 'Invalid field: actual_lrp_instance_key'));
      const key = nested(1, ...lrpKey('left'));
      await refuse('actual_lrps/evacuate_claimed', key, Buffer.concat([findings, keep]));
      await refuse('actual_lrps/evacuate_stopped', key, findings);
    });
  });

  describe('about tasks', () => {
    const desireTask = (guid: string, ...more: Buffer[]) =>
      succeed('tasks/desire.r2', Buffer.concat([field(1, taskDefinition(...more)), field(2, guid), field(3, 'wire')]));

    async function read(guid: string): Promise<Record<string, unknown>> {
      const { task } = readByTables('TaskResponse', await answer('tasks/get_by_task_guid.r3', field(1, guid)));
      return task as Record<string, unknown>;
    }

    it('takes them through their life', async () => {
      const guid = field(1, 'life');
      await desireTask('life', field(13, 'note'));
      expect(await read('life')).to.deep.include({
        ...{ task_guid: 'life', domain: 'wire', state: 'Pending' },
        task_definition: {
          ...{ root_fs: 'preloaded:cflinuxfs4', action: { run_action: { path: 'ls', user: 'vcap' } } },
          annotation: 'note',
        },
      });
      const start = Buffer.concat([guid, field(2, 'c')]);
      expect(inHex(await answer('tasks/start', start))).to.equal('10 01');
      expect(inHex(await answer('tasks/start', start))).to.equal('');
      expect(inHex(await answer('tasks/list.r3', Buffer.concat([field(1, 'wire'), field(2, 'c')])))).to.equal(
        inHex(await answer('tasks/get_by_task_guid.r3', guid)),
      );
      await succeed('tasks/complete', Buffer.concat([guid, field(2, 'c'), field(5, 'done')]));
      expect(await read('life'))
        .to.include({ state: 'Completed', result: 'done' })
        .and.not.to.have.property('cell_id');
      await succeed('tasks/resolving', guid);
      expect(await read('life')).to.include({ state: 'Resolving' });
      await succeed('tasks/delete', guid);
      await refuse('tasks/get_by_task_guid.r3', guid, notFound);
    });

    it('cancels, fails and rejects them', async () => {
      for (const guid of ['cancelled', 'failed', 'rejected']) await desireTask(guid);
      await succeed('tasks/cancel', field(1, 'cancelled'));
      expect(await read('cancelled')).to.include({ failed: true, failure_reason: 'task was cancelled' });
      await succeed('tasks/fail', Buffer.concat([field(1, 'failed'), field(2, 'no more')]));
      expect(await read('failed')).to.include({ state: 'Completed', failed: true, failure_reason: 'no more' });
      await succeed('tasks/reject', Buffer.concat([field(1, 'rejected'), field(2, 'no room')]));
      expect(await read('rejected')).to.include({ state: 'Pending', rejection_count: 1, rejection_reason: 'no room' });
    });

    it('reads them in the forms of all revisions', async () => {
      await desireTask(
        'forms',
        ...[field(16, 'vcap'), nested(15, field(1, 'dep'), field(2, 'http://dep'), field(3, '/dep'))],
        nested(25, field(2, 'http://s'), field(3, '/s'), field(4, 1), field(5, 1)),
        nested(25, field(2, 'http://e'), field(3, '/e'), field(4, 2), field(5, 1), field(6, 1), field(7, 'cd')),
      );
      const run = { run_action: { path: 'ls', user: 'vcap' } };
      const shared = { from: 'http://s', to: '/s', cache_key: 'http://s' };
      const dependency = { name: 'dep', from: 'http://dep', to: '/dep' };
      const exclusive = {
        ...{ from: 'http://e', to: '/e', cache_key: 'sha256:cd', user: 'vcap' },
        ...{ checksum_algorithm: 'sha256', checksum_value: 'cd' },
      };
      const afterLayers = {
        serial_action: { actions: [{ parallel_action: { actions: [{ download_action: exclusive }] } }, run] },
      };
      const downloads = {
        parallel_action: {
          actions: [
            { download_action: { ...shared, user: 'vcap' } },
            { download_action: { artifact: 'dep', from: 'http://dep', to: '/dep', user: 'vcap' } },
          ],
        },
      };
      const base = { root_fs: 'preloaded:cflinuxfs4', legacy_download_user: 'vcap' };
      const second = { ...base, action: afterLayers, cached_dependencies: [shared, dependency] };
      const forms = {
        '.r2': second,
        '.r1': second,
        '': { ...base, action: { serial_action: { actions: [downloads, afterLayers] } } },
      };
      expect(await read('forms'))
        .to.have.nested.property('task_definition.image_layers')
        .with.length(2);
      for (const [revision, definition] of Object.entries(forms)) {
        const method = revision === '' ? 'GET' : 'POST';
        const one = await answer(`tasks/get_by_task_guid${revision}`, field(1, 'forms'), { method });
        expect(readByTables('TaskResponse', one), revision).to.have.deep.nested.property(
          'task.task_definition',
          definition,
        );
        const all = await answer(`tasks/list${revision}`, field(1, 'wire'));
        expect(all.includes(one), revision).to.equal(true);
      }
    });

    it('takes those of clients of before 2016', async () => {
      const timeout = nested(3, nested(4, nested(1, runAction), field(2, 2_000_000_000n)));
      const definition = field(1, Buffer.concat([field(1, 'preloaded:x'), timeout]));
      await succeed('tasks/desire', Buffer.concat([definition, field(2, 'old'), field(3, 'wire')]));
      expect(await read('old')).to.have.nested.property('task_definition.action.timeout_action.timeout_ms', '2000');
    });
  });

  it('speaks of nothing that the tables do not have', async () => {
    for (const [path, message] of [
      ['desired_lrps/list.r3', 'DesiredLRPsResponse'],
      ['desired_lrp_scheduling_infos/list', 'DesiredLRPSchedulingInfosResponse'],
      ['actual_lrps/list', 'ActualLRPsResponse'],
      ['tasks/list.r3', 'TasksResponse'],
    ] as const) {
      const answered = await answer(path);
      // Written anew from what the tables know of it, it is as long: only maps and empty parts may stand elsewhere.
      const anew = writeByTables(message, readByTables(message, answered));
      expect(readByTables(message, anew)).to.deep.equal(readByTables(message, answered));
    }
  });
});

describe('routes that upstream removed', () => {
  let board: RunningBbs;

  before(async () => {
    board = await startBbs();
  });

  after(() => board.stop());

  it('are not there unless the configuration says so', async () => {
    for (const path of removedPosts) {
      expect([path, (await exchange(`${board.url}/v1/${path}`)).status]).to.deep.equal([path, 404]);
    }
    const statuses = await Promise.all(
      removedGets.map(async (path) => (await exchange(`${board.url}/v1/${path}`, { method: 'GET' })).status),
    );
    expect(statuses).to.deep.equal([404, 405]);
  });
});

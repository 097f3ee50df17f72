import { expect } from 'chai';
import { type RunningBbs, startBbs } from '../../../support/bbs.js';
import { field, hex, inHex, nested } from '../../../support/board/bytes.js';
import type { DatabaseConfig } from '../../../support/board/databases.js';
import { type GoDatabase, makeGoDatabase, type Row, seal, unseal } from '../../../support/board/go-database.js';
import { readByTables } from '../../../support/board/message-tables.js';
import { exchange } from '../../../support/board/raw-exchange.js';

const label = 'key-1';
const passphrase = 'a passphrase';
/** Format and version in front of messages. */
const envelope = hex('02 00');
const sealed = (plaintext: Buffer | string) => seal(plaintext, label, passphrase);
const sealedMessage = (...fields: Buffer[]) => sealed(Buffer.concat([envelope, ...fields]));
const opened = (value: unknown) => unseal(value, label, passphrase);
const openedMessage = (message: string, value: unknown) => {
  const plaintext = opened(value);
  expect(inHex(plaintext.subarray(0, 2))).to.equal('02 00');
  return readByTables(message, plaintext.subarray(2));
};

const since = '1700000000000000001';
const run = nested(3, field(1, 'ls'), field(6, 'vcap'));
const metricTag = nested(35, field(1, 'source_id'), nested(2, field(1, 'q')));

/** docs/protocol/bbs.md §15, in both directions */
export function itSharesTheDatabaseOfAGoBoard(makeDatabase: () => Promise<DatabaseConfig>): void {
  describe('a database that a Go board has left', () => {
    let database: GoDatabase;
    let board: RunningBbs;

    before(async () => {
      const config = await makeDatabase();
      database = await makeGoDatabase(config, label);
      await fill(database);
      board = await startBbs({ database: config });
      await board.addCell('c1');
    });

    after(async () => {
      await board?.stop();
      await database.stop();
    });

    const send = async (path: string, body: Buffer) => (await exchange(`${board.url}/v1/${path}`, { body })).body;

    async function succeed(path: string, ...fields: Buffer[]): Promise<void> {
      expect(inHex(await send(path, Buffer.concat(fields)))).to.equal('');
    }

    async function row(table: string, wanted: Row): Promise<Row> {
      const rows = await database.rows(table);
      return rows.find((candidate) => Object.entries(wanted).every(([key, value]) => candidate[key] === value))!;
    }

    it('is read: desired LRPs', async () => {
      const answer = await send('desired_lrps/get_by_process_guid.r3', field(1, 'p'));
      expect(readByTables('DesiredLRPResponse', answer).desired_lrp).to.deep.equal({
        ...{ process_guid: 'p', domain: 'd', log_guid: 'log', root_fs: 'preloaded:cflinuxfs4', instances: 2 },
        ...{ annotation: 'é', memory_mb: 128, disk_mb: 256, max_pids: 10, update_strategy: 'RECREATE' },
        action: { run_action: { path: 'ls', user: 'vcap' } },
        ports: [8080, 2222],
        routes: { routes: { 'cf-router': Buffer.from('[{"a":1.0}]'), 'x-router': Buffer.from('"\\u003c"') } },
        modification_tag: { epoch: 'e', index: 7 },
        PlacementTags: ['gpu'],
        metrics_guid: 'p',
        metric_tags: { source_id: { static: 'p' }, instance_id: { dynamic: 'INDEX' } },
      });
    });

    it('is read: actual LRPs, those of old boards too', async () => {
      const answer = await send('actual_lrps/list', field(3, 'p'));
      const { actual_lrps } = readByTables('ActualLRPsResponse', answer) as { actual_lrps: Row[] };
      const ofPresence = (presence: string | undefined) => actual_lrps.find((lrp) => lrp.presence === presence);
      expect(actual_lrps).to.have.length(3);
      expect(ofPresence(undefined)).to.deep.equal({
        ...{ actual_lrp_key: { process_guid: 'p', domain: 'd' }, actual_lrp_instance_key: {}, actual_lrp_net_info: {} },
        ...{ state: 'UNCLAIMED', since, modification_tag: { epoch: 'e0' }, routable: false },
        ...{ crash_count: 2, crash_reason: 'boom' },
      });
      expect(ofPresence('EVACUATING')).to.deep.include({
        actual_lrp_net_info: { address: '10.0.0.5', ports: [{ container_port: 8080, host_port: 61000 }] },
        actual_lrp_internal_routes: [{ hostname: 'a.apps.internal' }],
        ...{ metric_tags: { source_id: 'p' }, routable: true, availability_zone: 'z1' },
      });
      expect(ofPresence('SUSPECT')).to.deep.include({
        state: 'CLAIMED',
        actual_lrp_instance_key: { instance_guid: 'j', cell_id: 'c9' },
      });
    });

    it('is read: tasks and domains', async () => {
      const { tasks } = readByTables('TasksResponse', await send('tasks/list.r3', Buffer.alloc(0))) as { tasks: Row[] };
      expect(tasks.find(({ task_guid }) => task_guid === 'pending')).to.deep.equal({
        task_definition: { root_fs: 'preloaded:x', action: { run_action: { path: 'ls', user: 'vcap' } } },
        ...{ task_guid: 'pending', domain: 'd', created_at: since, updated_at: since, state: 'Pending' },
      });
      expect(tasks.find(({ task_guid }) => task_guid === 'done')).to.deep.include({
        ...{ state: 'Completed', result: 'out', failed: true, failure_reason: 'because', first_completed_at: since },
      });
      expect(inHex(await send('domains/list', Buffer.alloc(0)))).to.equal('12 05 66 72 65 73 68');
    });

    it('is written on for a Go board: desired LRPs', async () => {
      const routes = nested(
        15,
        nested(1, field(1, 'z'), field(2, ' [ 1 ] ')),
        nested(1, field(1, 'a'), field(2, '"<"')),
      );
      const mounts = ['nfs', 'nfs'].map((driver) =>
        nested(25, field(1, driver), field(3, '/data'), field(6, 'r'), nested(7, field(1, 'v'), field(2, '{}'))),
      );
      const fields = [field(1, 'q'), field(2, 'd'), field(3, 'preloaded:x'), field(4, 1), nested(7, run), metricTag];
      const more = [field(14, 8080), field(14, 8080), field(17, 'log'), field(11, 128), field(10, 256), field(39, 1)];
      await succeed('desired_lrp/desire.r2', nested(1, ...fields, ...more, routes, ...mounts));
      const desired = await row('desired_lrps', { process_guid: 'q' });
      expect(desired).to.include({
        ...{ domain: 'd', log_guid: 'log', annotation: '', instances: 1, memory_mb: 128, disk_mb: 256 },
        ...{
          rootfs: 'preloaded:x',
          modification_tag_index: 0,
          placement_tags: 'null',
          max_pids: 0,
          update_strategy: 1,
        },
      });
      expect(opened(desired.routes).toString()).to.equal('{"a":"\\u003c","z":[1]}');
      expect(opened(desired.metric_tags).toString()).to.equal('{"source_id":{"static":"q"}}');
      expect(openedMessage('VolumePlacement', desired.volume_placement)).to.deep.equal({
        driver_names: ['nfs', 'nfs'],
      });
      const { created_at, volume_mounts, ...runInfo } = openedMessage('DesiredLRPRunInfo', desired.run_info);
      expect(runInfo).to.deep.equal({
        desired_lrp_key: { process_guid: 'q', domain: 'd', log_guid: 'log' },
        action: { run_action: { path: 'ls', user: 'vcap' } },
        ports: [8080],
      });
      expect(String(created_at)).to.match(/^\d{19}$/);
      expect(volume_mounts).to.have.length(2);
    });

    it('is written on for a Go board: actual LRPs', async () => {
      await succeed('actual_lrps/remove', field(1, 'q'));
      await succeed(
        'actual_lrps/start.r1',
        ...[nested(1, field(1, 'q'), field(3, 'd')), nested(2, field(1, 'i'), field(2, 'c1'))],
        ...[nested(3, field(1, '10.0.0.5')), nested(4, field(1, 'b')), nested(4, field(1, 'a'))],
        ...[nested(5, field(1, 'z'), field(2, '<')), nested(5, field(1, 'a'), field(2, 'é')), field(7, 'z1')],
      );
      const running = await row('actual_lrps', { process_guid: 'q' });
      expect(running).to.include({
        ...{ instance_index: 0, presence: 0, domain: 'd', state: 'RUNNING', instance_guid: 'i', cell_id: 'c1' },
        ...{
          placement_error: '',
          crash_count: 0,
          crash_reason: '',
          modification_tag_index: 0,
          availability_zone: 'z1',
        },
      });
      expect([Boolean(running.routable), Boolean(running.evacuating)]).to.deep.equal([true, false]);
      expect(openedMessage('ActualLRPNetInfo', running.net_info)).to.deep.equal({ address: '10.0.0.5' });
      expect(opened(running.internal_routes).toString()).to.equal('[{"hostname":"b"},{"hostname":"a"}]');
      expect(opened(running.metric_tags).toString()).to.equal('{"a":"é","z":"\\u003c"}');

      await succeed(
        'actual_lrps/crash',
        nested(1, field(1, 'q'), field(3, 'd')),
        nested(2, field(1, 'i'), field(2, 'c1')),
      );
      const crashed = await row('actual_lrps', { process_guid: 'q' });
      expect(inHex(opened(crashed.net_info))).to.equal('02 00');
      await succeed('actual_lrps/remove', field(1, 'q'));
      await succeed('desired_lrp/update', field(1, 'q'), nested(2, field(1, 3)));
      const fresh = await row('actual_lrps', { process_guid: 'q', instance_index: 2 });
      const plain = ['net_info', 'internal_routes', 'metric_tags'].map((column) =>
        opened(fresh[column]).toString('latin1'),
      );
      expect(plain).to.deep.equal(['\x02\x00', '[]', '{}']);
    });

    it('is written on for a Go board: tasks and domains', async () => {
      const definition = nested(1, field(1, 'preloaded:x'), nested(3, run), field(13, 'note'));
      await succeed('tasks/desire.r2', definition, field(2, 't'), field(3, 'd'));
      const pending = await row('tasks', { guid: 't' });
      expect(pending).to.include({
        domain: 'd',
        state: 1,
        cell_id: '',
        result: null,
        failure_reason: '',
        rejection_count: 0,
      });
      expect(pending.created_at).to.equal(pending.updated_at);
      expect(String(pending.first_completed_at)).to.equal('0');
      expect(openedMessage('TaskDefinition', pending.task_definition)).to.deep.equal({
        ...{ root_fs: 'preloaded:x', action: { run_action: { path: 'ls', user: 'vcap' } }, annotation: 'note' },
      });
      await succeed('tasks/cancel', field(1, 't'));
      expect(await row('tasks', { guid: 't' })).to.include({
        state: 3,
        result: '',
        failure_reason: 'task was cancelled',
      });
      await succeed('domains/upsert', field(1, 'ever'), field(2, 0));
      expect(String((await row('domains', { domain: 'ever' })).expire_time)).to.equal('9223372036854775807');
    });

    it('keeps its version, and the label of its key', async () => {
      expect(await row('configurations', { id: 'version' })).to.include({ value: '{"CurrentVersion":1772581987}' });
      expect(await row('configurations', { id: 'encryption_key_label' })).to.include({ value: label });
    });
  });
}

async function fill(database: GoDatabase): Promise<void> {
  const ports = [8080, 8080, 2222].map((port) => field(9, port));
  const key = nested(1, field(1, 'p'), field(2, 'd'), field(3, 'log'));
  await database.insert('desired_lrps', {
    ...{ process_guid: 'p', domain: 'd', log_guid: 'log', annotation: 'é', instances: 2, memory_mb: 128, disk_mb: 256 },
    ...{ rootfs: 'preloaded:cflinuxfs4', routes: sealed('{"cf-router":[{"a":1.0}],"x-router":"\\u003c"}') },
    ...{ volume_placement: sealedMessage(), modification_tag_epoch: 'e', modification_tag_index: 7 },
    run_info: sealedMessage(key, nested(4, run), ...ports, field(13, BigInt(since))),
    ...{ placement_tags: '["gpu"]', max_pids: 10, update_strategy: 1 },
    metric_tags: sealed('{"instance_id":{"dynamic":"INDEX"},"source_id":{"static":"p"}}'),
  });
  const actual = { process_guid: 'p', instance_index: 0, domain: 'd', since, modification_tag_index: 0 };
  await database.insert('actual_lrps', {
    ...{ ...actual, state: 'UNCLAIMED', modification_tag_epoch: 'e0', crash_count: 2, crash_reason: 'boom' },
    ...{ net_info: sealedMessage(), internal_routes: sealed('[]'), metric_tags: sealed('{}'), routable: false },
  });
  await database.insert('actual_lrps', {
    ...{ ...actual, presence: 1, state: 'RUNNING', instance_guid: 'i', cell_id: 'c1', modification_tag_epoch: 'e1' },
    net_info: sealedMessage(field(1, '10.0.0.5'), nested(2, field(1, 8080), field(2, 61000))),
    ...{ internal_routes: sealed('[{"hostname":"a.apps.internal"}]'), metric_tags: sealed('{"source_id":"p"}') },
    ...{ routable: true, availability_zone: 'z1' },
  });
  // From before there were internal routes and tags.
  await database.insert('actual_lrps', {
    ...{ ...actual, presence: 2, state: 'CLAIMED', instance_guid: 'j', cell_id: 'c9', modification_tag_epoch: 'e2' },
    net_info: sealedMessage(),
  });
  const task = { domain: 'd', created_at: since, updated_at: since };
  const task_definition = sealedMessage(field(1, 'preloaded:x'), nested(3, run));
  await database.insert('tasks', { ...task, guid: 'pending', first_completed_at: 0, state: 1, task_definition });
  await database.insert('tasks', {
    ...{ ...task, guid: 'done', first_completed_at: since, state: 3, result: 'out', failed: true, task_definition },
    failure_reason: 'because',
  });
  await database.insert('domains', { domain: 'fresh', expire_time: '9223372036854775807' });
  await database.insert('domains', { domain: 'stale', expire_time: since });
}

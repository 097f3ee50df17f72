import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { resourceExists, resourceNotFound } from '../../../lib/bbs/errors.js';
import { fromJson } from '../../../lib/bbs/messages/json/parse.js';
import {
  ActualLRP,
  ActualLRPGroup,
  CellPresence,
  DesiredLRP,
  DesiredLRPSchedulingInfo,
  type DesireLRPRequest,
  type DesireTaskRequest,
  ProtoRoutes,
  Task,
  type UpdateDesiredLRPRequest,
} from '../../../lib/bbs/messages/models.js';
import { type BbsWords, startBbsWords } from '../../support/bbs-words.js';
import type { RunOptions } from '../../support/cli.js';

/** The example of docs/protocol/bbs-messages.md §0. */
const actualLrpJson =
  '{"process_guid":"p","index":0,"domain":"d","instance_guid":"i","cell_id":"c","address":"10.0.0.5","ports":[{"container_port":8080,"host_port":61000,"container_tls_proxy_port":61001,"host_tls_proxy_port":61002}],"instance_address":"10.255.1.2","preferred_address":"HOST","crash_count":0,"state":"RUNNING","since":1700000000000000000,"modification_tag":{"epoch":"e","index":3},"presence":"ORDINARY","actual_lrp_internal_routes":[{"hostname":"a.apps.internal"}],"metric_tags":{"source_id":"p"},"OptionalRoutable":{"routable":true},"availability_zone":"z1"}';

const desiredLrp = DesiredLRP.create({
  processGuid: 'p',
  domain: 'd',
  rootFs: 'preloaded:cflinuxfs4',
  instances: 2,
  memoryMb: 1024,
  diskMb: 512,
  annotation: '<&>',
  routes: ProtoRoutes.create({ routes: new Map([['cf-router', Buffer.from('[1.0]')]]) }),
});

describe('a word of cfdot', () => {
  let words: BbsWords;

  before(async () => {
    words = await startBbsWords();
  });

  afterEach(() => words.bbs.reset());

  after(() => words.stop());

  /** Output of a word that succeeds. */
  async function output(word: string[], options?: RunOptions): Promise<string> {
    const { status, out, error } = await words.say(word, options);
    expect({ status, error }).to.deep.equal({ status: 0, error: '' });
    return out;
  }

  const asked = () => words.bbs.requests.map(({ path, message }) => [path, message]);

  describe('about actual LRPs', () => {
    const lrp = fromJson(ActualLRP, actualLrpJson);

    it('lists them, a line of JSON each', async () => {
      words.bbs.answers.ActualLRPs = () => ({ actualLrps: [lrp, lrp] });
      expect(await output(['actual-lrps'])).to.equal(`${actualLrpJson}\n${actualLrpJson}\n`);
      expect(words.bbs.requests[0]!.body).to.have.length(0);
      expect(words.bbs.requests[0]!.headers['x-vcap-request-id']).to.match(/^[0-9a-f]{32}$/);
    });

    it('asks for those that are wanted only, also for an index of 0', async () => {
      words.bbs.answers.ActualLRPs = () => ({});
      expect(await output(['actual-lrps', '-d', 'd', '-c', 'c', '-p', 'p', '-i', '0'])).to.equal('');
      await output(['actual-lrps', '--domain', 'd', '--cell-id', 'c', '--process-guid', 'p', '--index', '7']);
      expect(asked()).to.deep.equal([
        ['/v1/actual_lrps/list', { domain: 'd', cellId: 'c', processGuid: 'p', index: 0 }],
        ['/v1/actual_lrps/list', { domain: 'd', cellId: 'c', processGuid: 'p', index: 7 }],
      ]);
    });

    it('shows a table to a person, whose screen no text of an app can write on', async () => {
      const crashed = { ...lrp, state: 'CRASHED', crashReason: 'b\u001b[2J\no', crashCount: 4, since: 0n };
      words.bbs.answers.ActualLRPs = () => ({ actualLrps: [lrp, crashed] });
      const table = (await output(['actual-lrps'], { isOutputTerminal: true })).split('\n');
      expect(table[0]).to.match(/^process +index +state +presence +cell +address +crashes +since +why$/);
      expect(table[1]).to.match(/^p +0 +RUNNING +ORDINARY +c +10\.0\.0\.5:61000 +0 +2023-11-1\d \d\d:\d\d:\d\d$/);
      expect(table[2]).to.match(/^p +0 +CRASHED +ORDINARY +c +10\.0\.0\.5:61000 +4 +b \[2J o$/);
      expect(await output(['actual-lrps', '--json'], { isOutputTerminal: true })).to.contain('{"process_guid":"p"');
    });

    it('lists groups, with a warning', async () => {
      const actualLrpGroups = [ActualLRPGroup.create({ instance: lrp })];
      words.bbs.answers.ActualLRPGroups = () => ({ actualLrpGroups });
      words.bbs.answers.ActualLRPGroupsByProcessGuid = () => ({ actualLrpGroups });
      words.bbs.answers.ActualLRPGroupsByProcessGuidAndIndex = () => ({ actualLrpGroup: actualLrpGroups[0]! });
      const commands = [
        ['actual-lrp-groups', '-d', 'd', '-c', 'c'],
        ['actual-lrp-groups-for-guid', 'p'],
        ['actual-lrp-groups-for-guid', 'p', '-i', '0'],
      ];
      for (const command of commands) {
        const { status, out, error } = await words.say(command);
        expect({ status, out }).to.deep.equal({ status: 0, out: `{"instance":${actualLrpJson}}\n` });
        expect(error).to.match(/^actual-lrp-groups.* is deprecated; use actual-lrps/);
      }
      expect(asked()).to.deep.equal([
        ['/v1/actual_lrp_groups/list', { domain: 'd', cellId: 'c' }],
        ['/v1/actual_lrp_groups/list_by_process_guid', { processGuid: 'p' }],
        ['/v1/actual_lrp_groups/get_by_process_guid_and_index', { processGuid: 'p', index: 0 }],
      ]);
      const { out } = await words.say(['actual-lrp-groups'], { isOutputTerminal: true });
      expect(out.split('\n')[1]).to.match(/^p +0 +RUNNING/);
    });

    it('retires one, in the domain of the desired one', async () => {
      words.bbs.answers.DesiredLRPByProcessGuid = () => ({ desiredLrp });
      words.bbs.answers.RetireActualLRP = () => ({});
      expect(await output(['retire-actual-lrp', 'p', '1'])).to.equal('');
      expect(asked()).to.deep.equal([
        ['/v1/desired_lrps/get_by_process_guid.r3', { processGuid: 'p' }],
        ['/v1/actual_lrps/retire', { actualLrpKey: { processGuid: 'p', index: 1, domain: 'd' } }],
      ]);
      const [first, second] = words.bbs.requests;
      expect(second!.headers['x-vcap-request-id']).to.equal(first!.headers['x-vcap-request-id']);
    });
  });

  describe('about desired LRPs', () => {
    const json =
      '{"process_guid":"p","domain":"d","rootfs":"preloaded:cflinuxfs4","instances":2,"env":null,"start_timeout_ms":0,"disk_mb":512,"memory_mb":1024,"cpu_weight":0,"privileged":false,"routes":{"cf-router":[1.0]},"log_source":"","log_guid":"","metrics_guid":"","annotation":"\\u003c\\u0026\\u003e","max_pids":0,';

    it('lists them and shows one', async () => {
      words.bbs.answers.DesiredLRPs = () => ({ desiredLrps: [desiredLrp] });
      words.bbs.answers.DesiredLRPByProcessGuid = () => ({ desiredLrp });
      const line = await output(['desired-lrps', '-d', 'd']);
      expect(line.slice(0, json.length)).to.equal(json);
      expect(line).to.match(/\}\n$/);
      expect(await output(['desired-lrp', 'p'])).to.equal(line);
      expect(asked()).to.deep.equal([
        ['/v1/desired_lrps/list.r3', { domain: 'd', processGuids: [], appGuids: [] }],
        ['/v1/desired_lrps/get_by_process_guid.r3', { processGuid: 'p' }],
      ]);
    });

    it('shows a person a table, and of one each key', async () => {
      words.bbs.answers.DesiredLRPs = () => ({ desiredLrps: [desiredLrp] });
      words.bbs.answers.DesiredLRPByProcessGuid = () => ({ desiredLrp });
      const [, row] = (await output(['desired-lrps'], { isOutputTerminal: true })).split('\n');
      expect(row).to.match(/^p +d +2 +1G +512M +preloaded:cflinuxfs4 +cf-router$/);
      const facts = await output(['desired-lrp', 'p'], { isOutputTerminal: true });
      expect(facts).to.match(/^process_guid: +p\ndomain: +d\nrootfs: +preloaded:cflinuxfs4\n/);
      expect(facts)
        .to.match(/\nroutes: +\{"cf-router":\[1\.0\]\}\n/)
        .and.match(/\nannotation: +<&>\n/);
    });

    it('lists scheduling infos', async () => {
      const info = DesiredLRPSchedulingInfo.create({ instances: 3, annotation: 'a' });
      words.bbs.answers.DesiredLRPSchedulingInfos = () => ({ desiredLrpSchedulingInfos: [info] });
      expect(await output(['desired-lrp-scheduling-infos', '--domain', 'd'])).to.match(
        /^\{"process_guid":"","domain":"","log_guid":"","annotation":"a","instances":3,/,
      );
      expect(await output(['desired-lrp-scheduling-infos'], { isOutputTerminal: true })).to.match(/^process +domain/);
      expect(words.bbs.requests[0]!.message).to.include({ domain: 'd' });
    });

    it('creates, changes and deletes one', async () => {
      words.bbs.answers.DesireDesiredLRP = () => ({});
      words.bbs.answers.UpdateDesireLRP = () => ({});
      words.bbs.answers.RemoveDesiredLRP = () => ({});
      await output(['create-desired-lrp', '{"process_guid":"p","routes":{"r":[1, 2]},"instances":3}']);
      await output(['update-desired-lrp', 'p', '{"instances":0,"annotation":""}']);
      await output(['delete-desired-lrp', 'p']);
      const [desire, update, remove] = words.bbs.requests;
      const { desiredLrp: sent } = desire!.message as DesireLRPRequest;
      expect(sent).to.include({ processGuid: 'p', instances: 3, domain: '' });
      expect(sent!.routes!.routes.get('r')!.toString()).to.equal('[1,2]');
      expect(update!.message).to.include({ processGuid: 'p' });
      const { update: changes } = update!.message as UpdateDesiredLRPRequest;
      expect(changes).to.include({ instances: 0, annotation: '', routes: undefined, imageUsername: undefined });
      expect(remove!.message).to.deep.equal({ processGuid: 'p' });
    });

    it('reads what to create from a file or from standard input', async () => {
      words.bbs.answers.DesireDesiredLRP = () => ({});
      await writeFile(join(words.directory, 'lrp.json'), '{"process_guid":"größe"}\n');
      await output(['create-desired-lrp', '@lrp.json']);
      await output(['create-desired-lrp', '-'], { input: ' {"process_guid":"größe"}' });
      const guids = words.bbs.requests.map(({ message }) => (message as DesireLRPRequest).desiredLrp!.processGuid);
      expect(guids).to.deep.equal(['größe', 'größe']);
    });
  });

  describe('about tasks', () => {
    const task = Task.create({
      taskGuid: 't',
      domain: 'd',
      state: 2,
      cellId: 'c',
      createdAt: 1_700_000_000_000_000_000n,
    });
    const failed = Task.create({ taskGuid: 'u', state: 3, failed: true, failureReason: 'no luck' });

    it('lists them and shows one', async () => {
      words.bbs.answers.Tasks = () => ({ tasks: [task] });
      words.bbs.answers.TaskByGuid = () => ({ task });
      const line =
        '{"task_guid":"t","domain":"d","created_at":1700000000000000000,"updated_at":0,"first_completed_at":0,"state":"Running","cell_id":"c","result":"","failed":false,"failure_reason":"","rejection_count":0,"rejection_reason":""}\n';
      expect(await output(['tasks', '-d', 'd', '-c', 'c'])).to.equal(line);
      expect(await output(['task', 't'])).to.equal(line);
      expect(asked()).to.deep.equal([
        ['/v1/tasks/list.r3', { domain: 'd', cellId: 'c' }],
        ['/v1/tasks/get_by_task_guid.r3', { taskGuid: 't' }],
      ]);
    });

    it('shows a person a table', async () => {
      words.bbs.answers.Tasks = () => ({ tasks: [task, failed] });
      const table = (await output(['tasks'], { isOutputTerminal: true })).split('\n');
      expect(table[1]).to.match(/^t +d +Running +c +2023-11-1\d \d\d:\d\d:\d\d$/);
      expect(table[2]).to.match(/^u +Completed +failed: no luck$/);
    });

    it('creates one of the keys of task and definition', async () => {
      words.bbs.answers.DesireTask = () => ({});
      await output(['create-task', '{"task_guid":"t","domain":"d","rootfs":"docker:///x","memory_mb":3,"unknown":1}']);
      const { taskGuid, domain, taskDefinition } = words.bbs.requests[0]!.message as DesireTaskRequest;
      expect({ taskGuid, domain }).to.deep.equal({ taskGuid: 't', domain: 'd' });
      expect(taskDefinition).to.include({ rootFs: 'docker:///x', memoryMb: 3 });
    });

    it('cancels one, and deletes one in two steps', async () => {
      words.bbs.answers.CancelTask = () => ({});
      words.bbs.answers.ResolvingTask = () => ({});
      words.bbs.answers.DeleteTask = () => ({});
      await output(['cancel-task', 't']);
      await output(['delete-task', 't']);
      expect(asked()).to.deep.equal([
        ['/v1/tasks/cancel', { taskGuid: 't' }],
        ['/v1/tasks/resolving', { taskGuid: 't' }],
        ['/v1/tasks/delete', { taskGuid: 't' }],
      ]);
    });

    it('deletes none that cannot be resolved', async () => {
      words.bbs.answers.ResolvingTask = () => ({ error: resourceNotFound });
      expect((await words.say(['delete-task', 't'])).status).to.equal(4);
      expect(words.bbs.requests).to.have.length(1);
    });
  });

  describe('about domains', () => {
    it('lists them as JSON strings, and for a person as they are', async () => {
      words.bbs.answers.Domains = () => ({ domains: ['cf-apps', 'a"<b>'] });
      expect(await output(['domains'])).to.equal('"cf-apps"\n"a\\"\\u003cb\\u003e"\n');
      expect(await output(['domains'], { isOutputTerminal: true })).to.equal('cf-apps\na"<b>\n');
    });

    it('makes one fresh for a time, or for ever', async () => {
      words.bbs.answers.UpsertDomain = () => ({});
      for (const ttl of [[], ['-t', '2m'], ['--ttl', '40'], ['-t', '1h0m1.5s'], ['-t', '0s']]) {
        expect(await output(['set-domain', 'd', ...ttl])).to.equal('');
      }
      const ttls = words.bbs.requests.map(({ message }) => (message as { ttl: number }).ttl);
      expect(ttls).to.deep.equal([0, 120, 40, 3601, 0]);
    });

    it('never takes a moment for ever', async () => {
      for (const ttl of ['500ms', '-1', 'soon', '5000000000', '']) {
        const { status, error } = await words.say(['set-domain', 'd', '--ttl', ttl]);
        expect(status, ttl).to.equal(3);
        expect(error).to.contain("option '-t, --ttl <time>' argument").and.contain('Usage: isthmus bbs set-domain');
      }
      expect(words.bbs.requests).to.deep.equal([]);
    });
  });

  describe('about cells', () => {
    const presence = (cellId: string) => CellPresence.create({ cellId, zone: 'z', repUrl: 'https://rep' });

    it('lists them and shows one', async () => {
      words.bbs.answers.Cells = () => ({ cells: [presence('a'), presence('b')] });
      const line = (id: string) =>
        `{"cell_id":"${id}","rep_address":"","zone":"z","rep_url":"https://rep","annotations":{}}\n`;
      expect(await output(['cells'])).to.equal(line('a') + line('b'));
      expect(await output(['cell', 'b'])).to.equal(line('b'));
      expect(await output(['cells'], { isOutputTerminal: true })).to.match(/^cell +zone[^\n]*\na +z +- +- +- /);
    });

    it('says that there is none of that name', async () => {
      words.bbs.answers.Cells = () => ({});
      expect(await words.say(['cell', 'x'])).to.deep.equal({ status: 5, out: '', error: 'Error: Cell not found\n' });
    });
  });

  describe('that fails', () => {
    it("tells the BBS's refusal in cfdot's form, with status 4", async () => {
      words.bbs.answers.DesireDesiredLRP = () => ({ error: resourceExists });
      expect(await words.say(['create-desired-lrp', '{}'])).to.deep.equal({
        status: 4,
        out: '',
        error: 'Error: BBS error\nType 12: ResourceExists\nMessage: the requested resource already exists\n',
      });
    });

    it('tells an answer that is none so, too, after one attempt', async () => {
      for (const status of [404, 500]) {
        words.bbs.rawAnswers['/v1/tasks/list.r3'] = (_request, response) => void response.writeHead(status).end();
        expect(await words.say(['tasks'])).to.deep.equal({
          status: 4,
          out: '',
          error: `Error: BBS error\nType 5: InvalidResponse\nMessage: Invalid Response with status code: ${status}\n`,
        });
      }
      expect(words.bbs.requests).to.have.length(2);
    });

    it('tells a type that it does not know by its number', async () => {
      words.bbs.answers.Domains = () => ({ error: { type: 99 as 0, message: 'new' } });
      expect((await words.say(['domains'])).error).to.equal('Error: BBS error\nType 99: 99\nMessage: new\n');
    });

    it('tells what is wrong with JSON by its field, before it asks, with status 3 and its usage', async () => {
      await writeFile(join(words.directory, 'bad.json'), '{"instances":"4"}');
      const specs: [string, RunOptions, string][] = [
        ['{"instances":"4"}', {}, 'Invalid JSON: DesiredLRP.instances: not a number of type int32'],
        ['@bad.json', {}, 'Invalid JSON: DesiredLRP.instances: not a number of type int32'],
        ['-', { input: '[]' }, 'Invalid JSON: DesiredLRP: not an object'],
        ['-', {}, 'Invalid JSON: Unexpected end of JSON input'],
        ['{', {}, 'Invalid JSON: '],
        ['@missing.json', {}, "ENOENT: no such file or directory, open '"],
      ];
      for (const [spec, options, message] of specs) {
        const { status, out, error } = await words.say(['create-desired-lrp', spec], options);
        expect({ status, out }, spec).to.deep.equal({ status: 3, out: '' });
        expect(error.startsWith(`Error: ${message}`), error).to.equal(true);
        expect(error).to.contain('\nUsage: isthmus bbs create-desired-lrp ');
      }
      expect(words.bbs.requests).to.deep.equal([]);
    });

    it('tells that it was mistyped: 3 for arguments, 255 for flags and words', async () => {
      const mistakes: [number, string[]][] = [
        [3, ['task']],
        [3, ['task', '']],
        [3, ['task', 'a', 'b']],
        [3, ['domains', 'a']],
        [3, ['retire-actual-lrp', 'p']],
        [3, ['retire-actual-lrp', 'p', '-1']],
        [3, ['retire-actual-lrp', 'p', 'x']],
        [3, ['actual-lrps', '-i', '2147483648']],
        [3, ['actual-lrps', '-i', '-1']],
        [3, []],
        [255, ['actual-lrps', '--nope']],
        [255, ['actual-lrps', '-d']],
        [255, ['--nope', 'domains']],
        [255, ['nope']],
      ];
      for (const [expected, word] of mistakes) {
        const { status, out, error } = await words.say(word);
        expect({ status, out }, word.join(' ')).to.deep.equal({ status: expected, out: '' });
        expect(error).to.contain('Usage: isthmus bbs');
      }
      expect(words.bbs.requests).to.deep.equal([]);
    });

    it('ends with 130 when the operator interrupts it', async () => {
      const interrupt = new AbortController();
      words.bbs.rawAnswers['/v1/ping'] = () => {};
      words.bbs.rawAnswers['/v1/tasks/list.r3'] = () => interrupt.abort();
      const { status, error } = await words.say(['tasks'], { signal: interrupt.signal });
      expect({ status, error }).to.deep.equal({ status: 130, error: '' });
    });
  });

  it('is listed by the help of its group, and has help of its own', async () => {
    expect(await output(['--help']))
      .to.contain('actual-lrp-groups-for-guid')
      .and.contain('Exit status: 3');
    const help = await output(['set-domain', '--help']);
    expect(help).to.contain('--ttl <time>').and.contain('--caCertFile').and.not.contain('--token');
  });
});

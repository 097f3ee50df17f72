import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { startBbs } from '../../support/bbs.js';
import { Caller } from '../../support/board/caller.js';
import { type Run, type RunOptions, runIsthmus } from '../../support/cli.js';
import { eventually } from '../../support/eventually.js';

/** docs/protocol/bbs.md §20, on a board that is none but played. */
describe('the words of cfdot on a board', () => {
  let caller: Caller;
  let home: string;

  before(async () => {
    home = await mkdtemp(join(tmpdir(), 'words-'));
    caller = new Caller(await startBbs());
    await caller.board.addCell('c1');
    await caller.desire('p', { instances: 2 });
    await caller.start('p', 0, 'i/c1');
    await caller.desireTask('t');
  });

  after(async () => {
    await caller.board.stop();
    await rm(home, { recursive: true, force: true });
  });

  const say = (word: string[], options: RunOptions = {}): Promise<Run> =>
    runIsthmus(home, ['bbs', ...word], { ...options, environment: { BBS_URL: caller.board.url } });

  async function lines(...word: string[]): Promise<Record<string, unknown>[]> {
    const { status, out } = await say(word);
    expect(status, word.join(' ')).to.equal(0);
    return out
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line));
  }

  it('list what there is, a line of JSON each', async () => {
    expect((await lines('desired-lrps')).map(({ process_guid }) => process_guid)).to.deep.equal(['p']);
    expect((await lines('desired-lrp-scheduling-infos')).map(({ instances }) => instances)).to.deep.equal([2]);
    expect((await lines('actual-lrps', '-p', 'p')).map(({ state }) => state)).to.deep.equal(['RUNNING', 'UNCLAIMED']);
    expect((await lines('actual-lrps', '-c', 'c1')).map(({ index }) => index)).to.deep.equal([0]);
    expect(await lines('actual-lrp-groups')).to.have.length(2);
    expect((await lines('tasks')).map(({ task_guid, state }) => [task_guid, state])).to.deep.equal([['t', 'Pending']]);
    expect((await lines('cells')).map(({ cell_id }) => cell_id)).to.deep.equal(['c1']);
    expect((await lines('cell', 'c1'))[0]).to.include({ zone: 'z1' });
  });

  it('make, change and delete', async () => {
    expect(await lines('set-domain', 'cf-apps', '-t', '2m')).to.deep.equal([]);
    expect(await lines('domains')).to.deep.equal(['cf-apps']);
    const [spec] = await lines('desired-lrp', 'p');
    await lines('create-desired-lrp', JSON.stringify({ ...spec, process_guid: 'q' }));
    await lines('update-desired-lrp', 'q', '{"instances":1,"annotation":"new"}');
    expect((await lines('desired-lrp', 'q'))[0]).to.include({ instances: 1, annotation: 'new' });
    await lines('retire-actual-lrp', 'q', '0');
    expect(await lines('actual-lrps', '-p', 'q')).to.deep.equal([]);
    await lines('delete-desired-lrp', 'q');
    const [task] = await lines('task', 't');
    await lines('create-task', JSON.stringify({ ...task, task_guid: 'u' }));
    await lines('cancel-task', 'u');
    await lines('delete-task', 'u');
    const { status, error } = await say(['task', 'u']);
    expect([status, error]).to.deep.equal([
      4,
      'Error: BBS error\nType 13: ResourceNotFound\nMessage: the requested resource could not be found\n',
    ]);
  });

  it('print events until they are told to end', async () => {
    const stopping = new AbortController();
    const printed = { lrps: '', tasks: '' };
    const watching = [
      say(['lrp-events', '-x'], {
        signal: stopping.signal,
        watch: (out) => {
          printed.lrps = out;
        },
      }),
      say(['task-events'], {
        signal: stopping.signal,
        watch: (out) => {
          printed.tasks = out;
        },
      }),
    ];
    // Nobody says when they have subscribed.
    const typesOf = (text: string) =>
      text
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line).type);
    await eventually(
      async () => {
        await caller.update('p', { annotation: 'again' });
        await caller.desireTask('v');
        for (const name of ['CancelTask', 'ResolvingTask', 'DeleteTask'] as const)
          await caller.call(name, { taskGuid: 'v' });
        return typesOf(printed.lrps).includes('desired_lrp_changed') && typesOf(printed.tasks).includes('task_removed')
          ? true
          : undefined;
      },
      { what: 'events' },
    );
    stopping.abort();
    await Promise.all(watching);
  });
});

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { type RunningBbs, startBbs } from '../../support/bbs.js';
import { Caller } from '../../support/board/caller.js';
import { boardDatabases } from '../../support/board-databases.js';
import { eventually } from '../../support/eventually.js';
import { type Metron, startMetron } from '../../support/metron.js';

/** docs/protocol/bbs.md §18 */
describe('figures of a board', () => {
  let board: RunningBbs;
  let caller: Caller;
  let metron: Metron;

  before(async () => {
    metron = await startMetron();
    const routes = ['DesireDesiredLRP'];
    board = await startBbs({
      config: {
        dropsonde_port: metron.port,
        report_interval: '200ms',
        advanced_metrics: { enabled: true, route_config: { request_count: routes, request_latency: routes } },
      },
    });
    caller = new Caller(board);
    await board.addCell('c1');
    await board.addCell('c2');
    await caller.call('UpsertDomain', { domain: 'cf-apps', ttl: 0 });
    // One index each: running, claimed, unclaimed; one that waits after three crashes; one of a cell that is gone.
    await caller.desire('p', { instances: 3 });
    await caller.start('p', 0, 'i/c1');
    await caller.claim('p', 1, 'j/c1');
    await caller.desire('crashing');
    for (const count of [1, 2, 3]) {
      await caller.start('crashing', 0, `k${count}/c1`);
      await caller.crash('crashing', 0, `k${count}/c1`);
    }
    await caller.desire('lost');
    await caller.start('lost', 0, 'l/gone');
    for (const task of ['pending', 'running', 'completed', 'failed']) await caller.desireTask(task);
    for (const taskGuid of ['running', 'completed', 'failed']) {
      await caller.call('StartTask', { taskGuid, cellId: 'c1' });
    }
    await caller.call('CompleteTask', { taskGuid: 'completed', cellId: 'c1', result: 'r' });
    await caller.call('CompleteTask', { taskGuid: 'failed', cellId: 'c1', failed: true, failureReason: 'f' });
    await board.bbs.converge();
  });

  after(async () => {
    await board?.stop();
    await metron?.stop();
  });

  async function figures({ healthUrl } = board): Promise<Record<string, number>> {
    const text = await (await fetch(`${healthUrl}/metrics`)).text();
    const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    return Object.fromEntries(lines.map((line) => line.split(' ')).map(([name, value]) => [name, Number(value)]));
  }

  it('say what the last pass has found', async () => {
    expect(await figures()).to.include({
      bbs_convergence_lrp_runs_total: 1,
      bbs_convergence_task_runs_total: 1,
      bbs_domain_cf_apps: 1,
      bbs_lrps_desired: 5,
      bbs_lrps_running: 2,
      bbs_lrps_claimed: 1,
      bbs_lrps_unclaimed: 1,
      bbs_crashed_actual_lrps: 1,
      bbs_crashing_desired_lrps: 1,
      bbs_lrps_missing: 0,
      bbs_lrps_extra: 0,
      bbs_suspect_running_actual_lrps: 0,
      bbs_suspect_claimed_actual_lrps: 0,
      bbs_present_cells: 2,
      bbs_suspect_cells: 1,
      bbs_tasks_pending: 1,
      bbs_tasks_running: 1,
      bbs_tasks_completed: 2,
      bbs_tasks_resolving: 0,
    });
    const { bbs_convergence_lrp_duration: lrps, bbs_convergence_task_duration: tasks } = await figures();
    // Nanoseconds.
    for (const duration of [lrps, tasks]) expect(duration).to.be.greaterThan(1000).and.lessThan(60e9);
  });

  it('say what cells did with tasks', async () => {
    expect(await figures()).to.include({
      'bbs_tasks_started_total{cell_id="c1"}': 3,
      'bbs_tasks_succeeded_total{cell_id="c1"}': 1,
      'bbs_tasks_failed_total{cell_id="c1"}': 1,
    });
  });

  it('say how the process and its database are', async () => {
    const found = await figures();
    expect(found).to.include({ bbs_lock_held: 1, bbs_bbs_master_elected: 1, bbs_db_open_connections: 1 });
    for (const name of ['open_file_descriptors', 'db_queries_total', 'db_queries_succeeded', 'migration_duration']) {
      expect(found[`bbs_${name}`], name).to.be.greaterThan(0);
    }
    for (const name of ['db_queries_failed', 'db_queries_in_flight', 'db_wait_count', 'db_wait_duration']) {
      expect(found[`bbs_${name}`], name).to.equal(0);
    }
  });

  it('count requests, and those of the routes that are named', async () => {
    const before = await figures();
    await caller.desire('counted');
    await caller.desired('counted');
    const after = await figures();
    const grown = (name: string) => after[name]! - before[name]!;
    expect([grown('bbs_request_count_total'), grown('bbs_request_count_desire_desired_lrp_total')]).to.deep.equal([
      2, 1,
    ]);
  });

  it('keep the longest of an interval, whoever asks for it', async () => {
    const slow = 'bbs_request_latency_desire_desired_lrp';
    await eventually(
      async () => {
        await caller.update('p', { annotation: 'again' });
        await caller.desire(`slow-${Math.round(performance.now())}`);
        const [first, second] = [await figures(), await figures()];
        if (!first[slow] || first[slow] !== second[slow]) return undefined;
        expect(first.bbs_request_latency).to.be.at.least(first[slow]!);
        expect(first[slow]).to.be.greaterThan(1000).and.lessThan(60e9);
        return true;
      },
      { what: 'the longest request of an interval, twice' },
    );
  });

  it('go to a Metron by upstream’s names', async () => {
    const named = await eventually(
      () => {
        const ofBoard = metron.envelopes.filter(({ origin }) => origin === 'bbs');
        const values = new Map(ofBoard.flatMap(({ value }) => (value ? [[value.name, value.value] as const] : [])));
        const counters = new Set(ofBoard.flatMap(({ counter }) => (counter ? [counter.name] : [])));
        return counters.has('RequestCount') && values.has('LRPsDesired') ? { values, counters } : undefined;
      },
      { what: 'figures at the Metron' },
    );
    expect(named.values.get('LockHeld')).to.equal(1);
    expect(named.values.get('BBSMasterElected')).to.equal(1);
    expect([...named.values.keys()]).to.include.members([
      ...['RequestLatency', 'OpenFileDescriptors', 'Domain.cf-apps', 'DBOpenConnections', 'DBWaitCount'],
      ...['DBWaitDuration', 'DBQueriesTotal', 'DBQueryDurationMax', 'MigrationDuration', 'SuspectCells'],
    ]);
    const started = metron.envelopes.filter(({ counter }) => counter?.name === 'TasksStarted');
    expect(started.map(({ counter, tags }) => [counter!.delta, tags])).to.deep.equal(
      Array.from({ length: 3 }, () => [1, { 'cell-id': 'c1' }]),
    );
    expect([...named.counters]).to.include.members(['ConvergenceLRPRuns', 'ConvergenceTaskRuns', 'TasksStarted']);
  });

  it('end for a domain that is not fresh any more', async () => {
    await caller.call('UpsertDomain', { domain: 'short', ttl: 1 });
    await board.bbs.converge();
    expect(await figures()).to.include({ bbs_domain_short: 1 });
    board.advance(3);
    await board.bbs.converge();
    expect(await figures()).not.to.have.property('bbs_domain_short');
  });

  it('say how long it took to encrypt all rows with a new key', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'figures-'));
    const database = await boardDatabases.SQLite(directory);
    const first = await startBbs({ database });
    await new Caller(first).desire('p');
    await first.stop();
    const keys = { 'key-1': 'a passphrase', 'key-2': 'another one' };
    const second = await startBbs({ database, config: { active_key_label: 'key-2', encryption_keys: keys } });
    try {
      const duration = await eventually(async () => (await figures(second)).bbs_encryption_duration, {
        what: 'the end of the encryption',
      });
      expect(duration).to.be.greaterThan(1000).and.lessThan(60e9);
      expect(await figures()).not.to.have.property('bbs_encryption_duration');
    } finally {
      await second.stop();
      await rm(directory, { recursive: true });
    }
  });
});

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { EmbeddedLockStore } from '../../../lib/locks/embedded/embedded-store.js';
import { LockRunner, type LockRunnerOptions } from '../../../lib/locks/runners/lock-runner.js';
import { silentLogger } from '../../../lib/logging/logger.js';
import { eventually } from '../../support/eventually.js';
import { makeGate } from '../../support/gate.js';
import type { RunnerMessage } from '../../support/lock-runner-child.js';
import { makeIdentity, startLocket } from '../../support/locket.js';
import { recordingLogger } from '../../support/recording-logger.js';
import { rejectionOf } from '../../support/rejection.js';
import { ScriptedLocks } from '../../support/scripted-locks.js';
import { lock } from '../store-contract.js';

const ttlMs = 1000;

describe('LockRunner', () => {
  let store: EmbeddedLockStore;
  let locks: ScriptedLocks;
  const runners: LockRunner[] = [];

  function start(options: Partial<LockRunnerOptions> = {}) {
    const lost: string[] = [];
    const runner = new LockRunner({
      locks,
      key: 'bbs',
      owner: 'one',
      ttlMs,
      retryIntervalMs: 50,
      logger: silentLogger,
      onLost: (reason) => lost.push(reason),
      ...options,
    });
    runners.push(runner);
    runner.start();
    return { runner, lost };
  }

  const loss = (lost: string[]) => eventually(() => (lost.length > 0 ? true : undefined), { what: 'the loss' });

  beforeEach(async () => {
    store = new EmbeddedLockStore();
    await store.start();
    locks = new ScriptedLocks(store);
  });

  afterEach(async () => {
    locks.instead = undefined;
    await Promise.all(runners.splice(0).map((runner) => runner.stop()));
    await store.stop();
  });

  it('holds a free lock, with its token and value, and keeps it over more than a ttl', async () => {
    const { runner, lost } = start({ value: '{"id":"one"}' });
    expect(runner.isValid()).to.equal(false);
    await runner.whenHeld();
    const { token } = runner;
    expect(token).to.be.greaterThan(0);
    expect(await store.fetch('bbs')).to.deep.equal(lock('bbs', 'one', '{"id":"one"}'));
    await eventually(() => (locks.acquires > 7 ? true : undefined), { what: 'renewals' });
    expect([runner.isValid(), runner.token, lost]).to.deep.equal([true, token, []]);
  });

  it('waits for a lock that another has, says whose it is, and gets it when that one stops', async () => {
    const first = start();
    await first.runner.whenHeld();
    const { logger, lines } = recordingLogger();
    const second = start({ owner: 'two', logger });
    await eventually(() => lines.some(({ message }) => message === 'lock.held-by-another') || undefined);
    expect(lines.find(({ message }) => message === 'lock.held-by-another')?.data).to.deep.equal({
      key: 'bbs',
      owner: 'one',
    });
    expect(second.runner.isValid()).to.equal(false);
    const { token } = first.runner;
    await first.runner.stop();
    expect(first.runner.isValid()).to.equal(false);
    await second.runner.whenHeld();
    expect(second.runner.token).to.be.greaterThan(token!);
    expect(first.lost).to.deep.equal([]);
  });

  it('loses it when another has it, once', async () => {
    const { runner, lost } = start();
    await runner.whenHeld();
    await store.release('bbs', 'one');
    await store.acquire(lock('bbs', 'two'), 60_000);
    await loss(lost);
    expect([runner.isValid(), runner.token]).to.deep.equal([false, undefined]);
    await runner.stop();
    expect(lost).to.deep.equal(['another owner has it']);
    expect((await store.fetch('bbs'))?.owner).to.equal('two');
  });

  it('loses it when it was not its own for a while, though it is again', async () => {
    const { runner, lost } = start();
    await runner.whenHeld();
    await store.release('bbs', 'one');
    await loss(lost);
    expect(lost).to.deep.equal(['it was not ours for a while']);
    expect(runner.isValid()).to.equal(false);
  });

  it('loses it also when it learns too late for the renewal that it was not its own', async () => {
    const { runner, lost } = start({ ttlMs: 5000 });
    await runner.whenHeld();
    const gate = makeGate();
    locks.instead = async (ask) => {
      locks.instead = () => new Promise<never>(() => {});
      await gate.passed;
      return ask();
    };
    const before = locks.acquires;
    await eventually(() => (locks.acquires > before + 1 ? true : undefined), {
      what: 'the renewal after the slow one',
    });
    await store.release('bbs', 'one');
    gate.open();
    await eventually(() => (runner.isValid() ? undefined : true));
    expect(lost).to.deep.equal(['it was not ours for a while']);
  });

  it('does not lose it when renewals fail or hang for a time that is short enough', async () => {
    const { runner, lost } = start();
    await runner.whenHeld();
    for (const instead of [() => Promise.reject(new Error('refused')), () => new Promise<never>(() => {})]) {
      const before = locks.acquires;
      locks.instead = instead;
      await eventually(() => (locks.acquires > before ? true : undefined), { what: 'a renewal' });
      locks.instead = undefined;
      const after = locks.acquires;
      await eventually(() => (locks.acquires > after + 1 ? true : undefined), { what: 'more renewals' });
    }
    expect([runner.isValid(), lost]).to.deep.equal([true, []]);
  });

  for (const [name, instead] of [
    ['fail', () => Promise.reject(new Error('refused'))],
    ['hang', () => new Promise<never>(() => {})],
  ] as const) {
    it(`loses it before the store does when renewals ${name}`, async () => {
      const { runner, lost } = start();
      await runner.whenHeld();
      locks.instead = instead;
      await loss(lost);
      expect(lost).to.deep.equal(['it was not renewed in time']);
      expect(runner.isValid()).to.equal(false);
    });
  }

  it('does not count a grant that comes when its time is over', async () => {
    const gate = makeGate();
    let answered = false;
    locks.instead = async (ask) => {
      locks.instead = () => new Promise<never>(() => {});
      const grant = await ask();
      await gate.passed;
      setImmediate(() => {
        answered = true;
      });
      return grant;
    };
    const { runner } = start();
    await eventually(async () => ((await store.count('lock')) === 1 ? true : undefined), { what: 'the grant' });
    await eventually(async () => ((await store.count('lock')) === 0 ? true : undefined), { what: 'its end' });
    gate.open();
    await eventually(() => answered || undefined);
    expect(runner.isValid()).to.equal(false);
  });

  it('releases after the last attempt that was under way when it stopped', async () => {
    const { runner } = start();
    await runner.whenHeld();
    const gate = makeGate();
    let isAsked = false;
    locks.instead = async (ask) => {
      isAsked = true;
      await gate.passed;
      return ask();
    };
    await eventually(() => isAsked || undefined);
    const stopped = runner.stop();
    expect(runner.isValid()).to.equal(false);
    gate.open();
    await stopped;
    expect(await store.fetch('bbs')).to.equal(undefined);
  });

  it('can be stopped while it waits, and tells those who wait with it', async () => {
    await store.acquire(lock('bbs', 'other'), 60_000);
    const { runner } = start();
    const waiting = rejectionOf(runner.whenHeld());
    await runner.stop();
    await runner.stop();
    expect((await waiting).message).to.equal('bbs: stopped before it was held');
    expect((await store.fetch('bbs'))?.owner).to.equal('other');
  });

  it('works over gRPC as over a store', async () => {
    const identity = makeIdentity();
    const locket = await startLocket({ identity });
    try {
      const { runner } = start({ locks: locket.client() });
      await runner.whenHeld();
      const { logger, lines } = recordingLogger();
      start({ locks: locket.client(), owner: 'two', logger });
      const line = await eventually(() => lines.find(({ message }) => message === 'lock.held-by-another'));
      expect(line.data.owner).to.equal('one');
      expect(runner.token).to.be.greaterThan(0);
    } finally {
      await Promise.all(runners.splice(0).map((runner) => runner.stop()));
      expect(await locket.store.list('lock')).to.deep.equal([]);
      await locket.stop();
      identity.remove();
    }
  });

  describe('in a process that is paused', () => {
    const children: ChildProcess[] = [];

    function startHolder(port: number, files: { caFile: string; certFile: string; keyFile: string }, owner: string) {
      const program = fileURLToPath(new URL('../../support/lock-runner-child.ts', import.meta.url));
      const args = [String(port), files.caFile, files.certFile, files.keyFile, owner, '2000'];
      const child = fork(program, args, { execArgv: ['--import', 'tsx'] });
      children.push(child);
      const said: RunnerMessage[] = [];
      child.on('message', (message) => said.push(message as RunnerMessage));
      return { child, said, exited: once(child, 'exit') };
    }

    after(async () => {
      for (const child of children) {
        if (child.exitCode !== null || child.signalCode !== null) continue;
        const exited = once(child, 'exit');
        child.kill('SIGCONT');
        child.kill('SIGKILL');
        await exited;
      }
    });

    it('does nothing that is guarded after another has the lock, and ends', async () => {
      const identity = makeIdentity();
      const locket = await startLocket({ identity });
      try {
        const first = startHolder(locket.port, identity.files, 'one');
        const tokenOf = ({ said }: { said: RunnerMessage[] }) => said.findLast((message) => 'wrote' in message)?.wrote;
        const firstToken = await eventually(() => tokenOf(first), { what: 'a write of the first' });
        const second = startHolder(locket.port, identity.files, 'two');
        first.child.kill('SIGSTOP');
        const secondToken = await eventually(() => tokenOf(second), { what: 'a write of the second' });
        expect(secondToken).to.be.greaterThan(firstToken);
        first.said.splice(0);
        first.child.kill('SIGCONT');
        expect(await first.exited).to.deep.equal([1, null]);
        expect(first.said).to.deep.equal([{ lost: 'it was not renewed in time' }]);
        second.child.kill('SIGTERM');
        expect(await second.exited).to.deep.equal([0, null]);
        expect(await locket.store.list('lock')).to.deep.equal([]);
      } finally {
        await locket.stop();
        identity.remove();
      }
    });
  });
});

import { readdirSync } from 'node:fs';
import { expect } from 'chai';
import { CommandError } from '../../lib/process/command.js';
import { commandLineOf } from '../../lib/process/identity.js';
import { Launcher } from '../../lib/process/launcher.js';

describe('the launcher', () => {
  let launcher: Launcher;

  beforeEach(() => {
    launcher = new Launcher();
    launcher.start();
  });

  afterEach(() => launcher.stop());

  const shell = (script: string) => ({ program: 'sh', args: ['-c', script], timeoutMs: 10_000 });

  it('runs a program to its end, with input, and tells status and complaints', async () => {
    const result = await launcher.launch({ ...shell('cat >&2; exit 3'), input: 'no such thing' });
    expect(result).to.include({ exitCode: 3, stderr: 'no such thing' });
  });

  it('takes the first line on descriptor 3 as the answer of a program that goes on', async () => {
    const started = Date.now();
    const { answer } = await launcher.launch({ ...shell('echo up >&3; exec sleep 3'), answersOnFd3: true });
    expect(answer).to.equal('up');
    expect(Date.now() - started).to.be.lessThan(2000);
  });

  it('gives an empty answer when the program ends without one', async () => {
    expect((await launcher.launch({ ...shell('exit 1'), answersOnFd3: true })).answer).to.equal('');
  });

  it('does not wait for what a program leaves behind with its streams', async () => {
    const started = Date.now();
    await launcher.launch({ ...shell('sleep 3 &'), capturesStderr: false });
    expect(Date.now() - started).to.be.lessThan(2000);
  });

  it('says when there is no such program, and ends one that takes too long', async () => {
    const missing = await launcher.launch({ program: 'no-such-program', args: [], timeoutMs: 1000 }).catch((e) => e);
    expect(missing).to.be.instanceOf(CommandError).with.property('message').that.contains('ENOENT');
    expect(await launcher.launch({ ...shell('exec sleep 30'), timeoutMs: 100 })).to.include({ exitCode: null });
  });

  it('ends what a program that takes too long has started, and one that never answers', async () => {
    const mark = `3${process.pid}.${Date.now() % 1000}`;
    const isAlive = () =>
      readdirSync('/proc').some((pid) => /^\d+$/.test(pid) && commandLineOf(Number(pid)).join(' ') === `sleep ${mark}`);
    const nested = { ...shell(`sleep ${mark}; true`), timeoutMs: 300 };
    expect(await launcher.launch(nested)).to.include({ exitCode: null, hasTimedOut: true });
    expect(isAlive()).to.equal(false);
    expect(await launcher.launch({ ...nested, answersOnFd3: true })).to.include({ answer: '', hasTimedOut: true });
    expect(isAlive()).to.equal(false);
    // It has ended itself, and somebody else keeps the descriptor.
    const leaving = { ...shell(`sleep ${mark} & exit 0`), timeoutMs: 300, answersOnFd3: true, capturesStderr: false };
    expect(await launcher.launch(leaving)).to.include({ answer: '', hasTimedOut: true });
    expect(isAlive()).to.equal(false);
    // Its parents are gone, and it has left their session and their group.
    const orphaned = { ...shell(`(setsid sleep ${mark} &); sleep ${mark}`), timeoutMs: 300 };
    expect(await launcher.launch(orphaned)).to.include({ exitCode: null, hasTimedOut: true });
    expect(isAlive()).to.equal(false);
  });

  it('serves many at once', async () => {
    const all = await Promise.all(Array.from({ length: 40 }, (_, index) => launcher.launch(shell(`exit ${index}`))));
    expect(all.map(({ exitCode }) => exitCode)).to.deep.equal(Array.from({ length: 40 }, (_, index) => index));
  });

  it('starts nothing after its stop, until it is started again', async () => {
    await launcher.stop();
    await launcher.stop();
    const late = await launcher.launch(shell('exit 5')).catch((error: Error) => error.message);
    expect(late).to.contain('the launcher has stopped');
    launcher.start();
    expect(await launcher.launch(shell('exit 5'))).to.include({ exitCode: 5 });
  });
});

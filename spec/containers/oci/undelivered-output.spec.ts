import { expect } from 'chai';
import type { Container } from '../../../lib/containers/engine.js';
import { Collector } from '../../support/collector.js';
import { EngineProcess } from '../../support/engine-process.js';
import { eventually } from '../../support/eventually.js';
import { makeOciSettings, type OciSubject, startOciEngine } from '../../support/oci.js';
import { runToEnd, script } from '../engine-contract.js';

describe('output that nobody was given yet', function () {
  this.timeout(30_000);
  let subject: OciSubject;
  let container: Container;

  beforeEach(async () => {
    subject = await startOciEngine();
    container = await subject.engine.create({ rootfs: subject.rootfs, handle: 'c' });
  });

  afterEach(() => subject.dispose());

  const attachUndelivered = async (id: string) => {
    const stdout = new Collector();
    const process = await container.attach(id, { stdout, outputFrom: 'undelivered' });
    return { stdout, process };
  };
  const saying = async (stdout: Collector, text: string) => {
    await eventually(() => (stdout.text === text ? true : undefined), { what: JSON.stringify(text) });
  };
  const touch = (file: string) => runToEnd(container, script(`touch ${file}`));

  it('is all output when nobody ever followed', async () => {
    const process = await container.run(script('echo one; echo two; printf three', { id: 'p' }));
    await process.wait();
    const { stdout, process: attached } = await attachUndelivered('p');
    await attached.wait();
    expect(stdout.text).to.equal('one\ntwo\nthree');
  });

  it('is what comes from now on while somebody follows, and what he left over afterwards', async () => {
    const text =
      'echo a; until [ -e /tmp/b ]; do sleep 0.05; done; echo b; until [ -e /tmp/c ]; do sleep 0.05; done; echo c';
    const first = new Collector();
    await container.run(script(text, { id: 'p' }), { stdout: first });
    await saying(first, 'a\n');
    const second = await attachUndelivered('p');
    await touch('/tmp/b');
    await saying(first, 'a\nb\n');
    await saying(second.stdout, 'b\n');

    first.destroy();
    second.stdout.destroy();
    await touch('/tmp/c');
    const third = await attachUndelivered('p');
    await third.process.wait();
    expect(third.stdout.text).to.equal('c\n');
    const fourth = await attachUndelivered('p');
    await fourth.process.wait();
    expect(fourth.stdout.text).to.equal('');
  });

  it('is counted for each stream alone', async () => {
    const stderr = new Collector();
    const process = await container.run(script('echo out; echo err >&2', { id: 'p' }), { stderr });
    await process.wait();
    expect(stderr.text).to.equal('err\n');
    const rest = { stdout: new Collector(), stderr: new Collector() };
    await (await container.attach('p', { ...rest, outputFrom: 'undelivered' })).wait();
    expect([rest.stdout.text, rest.stderr.text]).to.deep.equal(['out\n', '']);
  });

  it('is known to the next engine, also when the one before was killed', async () => {
    await subject.dispose();
    const settings = await makeOciSettings();
    const killed = await EngineProcess.start(settings);
    await killed.ask({ verb: 'create', spec: { handle: 'c', rootfs: subject.rootfs } });
    const ticking = 'i=0; until [ -e /tmp/end ]; do i=$((i+1)); echo $i; sleep 0.01; done';
    await killed.ask({ verb: 'run', handle: 'c', spec: { ...script(ticking), id: 'p' } });
    await killed.kill();

    subject = await startOciEngine({ settings });
    container = await subject.engine.lookup('c');
    const first = await attachUndelivered('p');
    await eventually(() => (first.stdout.text.length > 100 ? true : undefined));
    await subject.restart();
    container = await subject.engine.lookup('c');
    const second = await attachUndelivered('p');
    await eventually(() => (second.stdout.text.length > 100 ? true : undefined));
    await touch('/tmp/end');
    await second.process.wait();
    const ticks = (first.stdout.text + second.stdout.text).trim().split('\n').map(Number);
    expect(ticks).to.deep.equal(ticks.map((_, index) => index + 1));
  });

  it('begins with the oldest that is kept when the rest was given up for newer output', async () => {
    const first = new Collector();
    const text = 'echo first; until [ -e /tmp/go ]; do sleep 0.05; done; seq 1 4000000; echo last';
    await container.run(script(text, { id: 'p' }), { stdout: first });
    await saying(first, 'first\n');
    first.destroy();
    await touch('/tmp/go');
    await (await container.attach('p')).wait();

    const { stdout, process } = await attachUndelivered('p');
    await process.wait();
    const numbers = stdout.text.trim().split('\n');
    expect(numbers.at(-1)).to.equal('last');
    const kept = numbers.slice(0, -1).map(Number);
    expect(kept[0]).to.be.above(1);
    expect(kept.every((number, index) => number === kept[0]! + index)).to.equal(true);
  });

  it('does not keep those waiting who give up', async () => {
    const process = await container.run(script('sleep 100', { id: 'p' }));
    const givingUp = new AbortController();
    const waiting = process.wait({ signal: givingUp.signal });
    givingUp.abort(new Error('enough'));
    expect(await waiting.catch((error: Error) => error.message)).to.equal('enough');
    await process.signal('kill');
    expect(await process.wait()).to.equal(137);
  });
});

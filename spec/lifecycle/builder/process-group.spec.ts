import { tmpdir } from 'node:os';
import { expect } from 'chai';
import { ProgramStartError, runInProcessGroup } from '../../../lib/lifecycle/builder/process-group.js';
import { eventually } from '../../support/eventually.js';

/** True once no process of the group is left; the orphans among them are reaped by the system. */
function isGone(group: number): true | undefined {
  try {
    process.kill(-group, 0);
    return undefined;
  } catch {
    return true;
  }
}

describe('a program in a process group of its own', () => {
  const context = (signal = new AbortController().signal) => ({
    workingDirectory: tmpdir(),
    environment: { PATH: process.env.PATH },
    signal,
    killGraceMs: 200,
  });

  const sh = (script: string, signal?: AbortSignal) => runInProcessGroup('sh', ['-c', script], context(signal));

  it('gives its exit status, or 128 and the signal', async () => {
    expect(await sh('exit 7')).to.equal(7);
    expect(await sh('kill -KILL $$')).to.equal(137);
  });

  it('has no input', async () => {
    let output = '';
    await runInProcessGroup('sh', ['-c', 'cat; echo end'], context(), {
      stdout: (chunk) => {
        output += chunk.toString();
      },
    });
    expect(output).to.equal('end\n');
  });

  it('cannot be started when there is none', async () => {
    const error = await runInProcessGroup('/nowhere/at/all', [], context()).catch((fault: unknown) => fault);
    expect(error).to.be.instanceOf(ProgramStartError);
  });

  it('is killed with all its group when it does not obey TERM', async () => {
    const abort = new AbortController();
    const reason = new Error('enough');
    const begin = Date.now();
    let group = 0;
    const run = runInProcessGroup(
      'sh',
      ['-c', "trap '' TERM; echo $$; sleep 1000 & while :; do sleep 1; done"],
      context(abort.signal),
      {
        stdout: (chunk) => {
          group = Number(chunk.toString());
          abort.abort(reason);
        },
      },
    );
    expect(await run.catch((error: unknown) => error)).to.equal(reason);
    expect(Date.now() - begin).to.be.within(200, 3000);
    await eventually(() => isGone(group), { what: 'the end of the group' });
  });

  it('is not started any more once the signal was given', async () => {
    const reason = new Error('too late');
    expect(await sh('exit 0', AbortSignal.abort(reason)).catch((error: unknown) => error)).to.equal(reason);
  });
});

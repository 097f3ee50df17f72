import { expect } from 'chai';
import { CommandError, runCommand } from '../../lib/process/command.js';

async function failure(promise: Promise<unknown>): Promise<CommandError> {
  return promise.then(
    () => expect.fail('succeeded'),
    (error: CommandError) => error,
  );
}

describe('runCommand', () => {
  it('gives what the program printed, fed with input', async () => {
    const result = await runCommand('sh', ['-c', 'cat; echo err >&2'], { input: 'text' });
    expect(result).to.deep.equal({ stdout: 'text', stderr: 'err\n' });
  });

  it('does not mind a program that ignores its input', async () => {
    const input = 'x'.repeat(1_000_000);
    expect((await runCommand('true', [], { input })).stdout).to.equal('');
  });

  it('names the program and its complaint when it fails', async () => {
    const error = await failure(runCommand('sh', ['-c', 'echo no such thing >&2; exit 3']));
    expect(error).to.be.instanceOf(CommandError).and.include({ exitCode: 3, message: 'sh: no such thing' });
  });

  it('says when there is no such program', async () => {
    expect((await failure(runCommand('no-such-program', []))).message).to.contain('ENOENT');
  });

  it('ends a program that takes too long', async () => {
    const started = Date.now();
    expect((await failure(runCommand('sleep', ['30'], { timeoutMs: 100 }))).message).to.contain('SIGKILL');
    expect(Date.now() - started).to.be.lessThan(5000);
  });
});

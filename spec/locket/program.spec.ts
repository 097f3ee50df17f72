import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { expect } from 'chai';
import { LocketClient } from '../../lib/locks/client/locket-client.js';
import { LockRunner } from '../../lib/locks/runners/lock-runner.js';
import { silentLogger } from '../../lib/logging/logger.js';
import { lock } from '../locks/store-contract.js';
import { makeIdentity, type TestIdentity } from '../support/locket.js';
import { LocketProgram } from '../support/locket-program.js';
import { rejectionOf } from '../support/rejection.js';

describe('bin/locket', () => {
  let identity: TestIdentity;
  let program: LocketProgram;

  before(async () => {
    identity = makeIdentity();
    program = await LocketProgram.create(identity);
  });

  after(async () => {
    await program.dispose();
    identity.remove();
  });

  it('is killed and started again, and its holders do not notice', async () => {
    await program.start();
    const client = new LocketClient({ address: `127.0.0.1:${program.ports.grpc}`, identity });
    const lost: string[] = [];
    const runner = new LockRunner({
      locks: client,
      key: 'bbs',
      owner: 'one',
      ttlMs: 10_000,
      logger: silentLogger,
      onLost: (reason) => lost.push(reason),
    });
    try {
      runner.start();
      await runner.whenHeld();
      const { token } = runner;
      await program.kill();
      await program.start();
      expect(await client.acquire(lock('bbs', 'one'), 10_000)).to.deep.equal({ token });
      expect((await rejectionOf(client.acquire(lock('bbs', 'two'), 10_000))).name).to.equal('LockCollision');
      expect([runner.isValid(), runner.token, lost]).to.deep.equal([true, token, []]);
      await runner.stop();
      expect(await client.list('lock')).to.deep.equal([]);
    } finally {
      await runner.stop();
      await client.stop();
    }
    expect(await program.stop()).to.equal(0);
    const log = await readFile(`${program.directory}/locket.log`, 'utf8');
    expect(log).to.include('locket.lock.acquired').and.to.include('locket.exited');
  });

  it('checks its configuration, its certificates and its store', async () => {
    const run = (...args: string[]) =>
      execFileSync('bin/locket', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    expect(run('--check', program.configPath)).to.equal(`${program.configPath}: ok\ncertificates and store: ok\n`);
    expect(run('--help')).to.match(/^Usage: locket <config path>/);
    const broken = await LocketProgram.create(identity, { redis: { url: 'redis://127.0.0.1:1' } });
    try {
      expect(() => run('--check', broken.configPath)).to.throw(/Redis cannot keep locks/);
      expect(() => run(broken.configPath)).to.throw(/Encountered error: Redis cannot keep locks/);
    } finally {
      await broken.dispose();
    }
  });
});

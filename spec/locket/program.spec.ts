import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
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

  it('checks its configuration, its certificates, its ports and its store', async () => {
    const run = (...args: string[]) => {
      const { status, stdout, stderr } = spawnSync('bin/locket', args, { encoding: 'utf8' });
      return { status, stdout, stderr };
    };
    const path = program.configPath;
    const file = JSON.parse(await readFile(path, 'utf8'));
    await rm(file.data_directory, { recursive: true, force: true });
    expect(run('--check', path)).to.deep.include({
      status: 0,
      stdout: `${path}: ok\n  note     data_directory: ${file.data_directory} is not there yet: it will be made\n`,
    });
    expect(existsSync(file.data_directory)).to.equal(false);
    await mkdir(file.data_directory);
    expect(run('--check', path)).to.deep.include({
      status: 0,
      stdout: `${path}: ok\n  note     the store can be used\n`,
    });
    expect(run('--help').stdout).to.match(/^Usage: locket <config path>/);
    const changed = join(program.directory, 'changed.json');
    const check = async (changes: Record<string, unknown>) => {
      await writeFile(changed, JSON.stringify({ ...file, ...changes }));
      return run('--check', changed);
    };
    const listener = createServer().listen(0, '127.0.0.1');
    await once(listener, 'listening');
    const { port: taken } = listener.address() as AddressInfo;
    const { status, stdout } = await check({
      listen_adress: '0.0.0.0:1',
      listen_address: `127.0.0.1:${taken}`,
      key_file: identity.files.caFile,
    });
    listener.close();
    expect(status).to.equal(1);
    expect(stdout.split('\n').slice(0, 4)).to.deep.equal([
      `${changed}: 2 errors`,
      stdout.split('\n')[1],
      `  error    listen_address: 127.0.0.1:${taken} is taken by another program`,
      '  warning  listen_adress: unknown key (did you mean listen_address?)',
    ]);
    expect(stdout).to.match(/^ {2}error {4}key_file: is no PEM file of the right kind/m);
    const away = { data_directory: undefined, redis: { url: 'redis://127.0.0.1:1' } };
    expect((await check(away)).stdout).to.match(/ {2}error {4}the store cannot be used: Redis cannot keep locks/);
    expect(run(changed).stderr).to.match(/Encountered error: Redis cannot keep locks/);
  });

  it('leaves alone what a Locket that runs has to itself', async () => {
    await program.start();
    const text = execFileSync('bin/locket', ['--check', program.configPath], { encoding: 'utf8' });
    expect(text).to.equal(
      `${program.configPath}: ok\n  warning  debug_address: a Locket answers there; ports were not tried out\n`,
    );
    await program.stop();
  });
});

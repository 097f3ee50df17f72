import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { eventually } from '../../support/eventually.js';
import { WardenSubject } from '../../support/warden.js';

describe('jobs of a Warden server with a tag', function () {
  this.timeout(60_000);
  let scratch: string;
  let receiver: ChildProcess;
  let received = '';
  let warden: WardenSubject;

  before(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'syslog-'));
    const syslogSocket = join(scratch, 'log');
    receiver = spawn('socat', ['-u', `UNIX-RECV:${syslogSocket}`, 'STDOUT'], { stdio: ['ignore', 'pipe', 'ignore'] });
    receiver.stdout!.on('data', (piece: Buffer) => {
      received += piece.toString();
    });
    await eventually(() => (existsSync(syslogSocket) ? true : undefined));
    warden = await WardenSubject.start({ syslogSocket });
  });

  after(async () => {
    await warden.dispose();
    receiver.kill();
    await once(receiver, 'exit');
    await rm(scratch, { recursive: true });
  });

  it('say each line to syslog, also when their output is discarded', async () => {
    const { handle } = await warden.request('Create', {});
    const script = Buffer.from('echo first; echo second; echo wrong >&2');
    const result = await warden.request('Run', { handle, script, discardOutput: true, logTag: 'app.1' });
    expect(result.stdout?.length).to.equal(0);

    await eventually(() => (received.match(/warden\.app\.1/g)?.length === 3 ? true : undefined));
    // Facility user, 1: severity info is 6, error is 3.
    expect(received).to.match(/<14>[^<]*warden\.app\.1: first/);
    expect(received).to.match(/<14>[^<]*warden\.app\.1: second/);
    expect(received).to.match(/<11>[^<]*warden\.app\.1: wrong/);
  });

  it('keep their output for those who link them as well', async () => {
    const { handle } = await warden.request('Create', {});
    const { jobId } = await warden.request('Spawn', { handle, script: Buffer.from('echo both'), logTag: 'app.2' });
    expect((await warden.request('Link', { handle, jobId })).stdout?.toString()).to.equal('both\n');
    await eventually(() => (received.includes('warden.app.2: both') ? true : undefined));
  });
});
